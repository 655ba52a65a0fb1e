"""The settings of this package: the dict `CLIP_SEARCH`, whose values are typed attributes of `conf`.

Each access reads Django's settings, so `override_settings` works.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from django.conf import settings as django_settings

from .exceptions import SetupError, without_password

Value = TypeVar("Value")


class Setting(Generic[Value]):
    """A descriptor for one key of CLIP_SEARCH, with its default and the function that converts its value.

    The value is read and converted at each access. Raises SetupError if it cannot be converted.
    """

    def __init__(self, default: Any, convert: Callable[[Any], Value]) -> None:
        self.default = default
        self.convert = convert

    def __set_name__(self, owner: type, name: str) -> None:
        self.key = name.upper()

    def __get__(self, instance: object, owner: type | None = None) -> Value:
        # A value may contain an API key, and Django's error pages show local variables and the errors that
        # caused an error. So no variable holds a value, and the error of the conversion is left out.
        if not isinstance(getattr(django_settings, "CLIP_SEARCH", {}), Mapping):
            raise SetupError("CLIP_SEARCH is no dict. Run `manage.py check`.")
        try:
            return self.convert(getattr(django_settings, "CLIP_SEARCH", {}).get(self.key, self.default))
        except (TypeError, ValueError):
            raise SetupError(f'CLIP_SEARCH["{self.key}"] has a wrong value. Run `manage.py check`.') from None


def _optional(value: Any) -> str | None:
    return str(value) if value else None


def _text(value: Any) -> str:
    return str(value) if value else ""


def _number_or_auto(value: Any) -> int | None:
    return None if value == "auto" else int(value)


class Options(dict[str, Any]):
    """The options of a store. Django's error pages show `repr()`, so this hides the values."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, "********"))


class Address(str):
    """An address with a password. Django's error pages show `repr()`, so this hides the password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(without_password(str(self)))


def hide_password() -> None:
    """Replace addresses with a password in CLIP_SEARCH by equal ones whose `repr()` hides the password.

    Django's error pages show the settings. They hide an `api_key`, but not a password in an address.
    """
    raw: Any = getattr(django_settings, "CLIP_SEARCH", {})
    places: list[Any] = [raw, raw.get("QDRANT") if isinstance(raw, Mapping) else None]
    for values in places:
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, list | tuple) and any(map(_has_password, value)):  # the nodes of a cluster
                values[key] = type(value)(Address(one) if _has_password(one) else one for one in value)
            elif _has_password(value):
                values[key] = Address(value)


def _has_password(value: Any) -> bool:
    return isinstance(value, str) and without_password(value) != value


def is_port(value: Any) -> bool:
    """Return True if a value is an int that can be a port number."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**16


def is_seconds(value: Any) -> bool:
    """Return True if a value is a number of seconds that can be a timeout."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _store(value: Any) -> Options:
    hide_password()
    if not value:
        raise SetupError(
            'CLIP_SEARCH["QDRANT"] is not set. Use {"url": "http://localhost:6333"} for a Qdrant server, '
            'or {"path": BASE_DIR / "qdrant"} for the embedded store.'
        )
    return Options(value)


class Conf:
    """The settings as attributes. The reference in the documentation explains each of them."""

    qdrant = Setting(None, _store)
    """The store of the points. Reading this raises SetupError if it is not set."""
    model = Setting("sentence-transformers/clip-ViT-B-32", str)
    text_model = Setting(None, _optional)
    encoder = Setting("clip_search.encoders.clip.ClipEncoder", str)
    """The dotted path of the encoder's class."""
    device = Setting("auto", str)
    precision = Setting("auto", str)
    batch_size = Setting("auto", _number_or_auto)
    """How many texts or images are embedded in one call. If it is None, the encoder chooses."""
    accelerate = Setting(True, bool)
    """True if CLIP models are optimized when they are loaded."""
    collection_options = Setting[dict[str, Any]]({}, dict)
    installation = Setting("", _text)
    """The name of this installation, which is written into each collection that it creates."""
    queue = Setting("default", _optional)
    """The name of a queue in `RQ_QUEUES`. If it is None, the process that saves a product indexes it."""
    autosync = Setting(True, bool)
    """True if saving or deleting a row schedules the indexing of its product."""
    api_document = Setting(None, _optional)
    api_permission_classes = Setting[list[str]](["rest_framework.permissions.IsAdminUser"], list)
    api_search_permission_classes = Setting[list[str]](["rest_framework.permissions.AllowAny"], list)
    api_throttle_rate = Setting("600/min", _optional)
    api_search_throttle_rate = Setting("60/min", _optional)
    api_suggest_throttle_rate = Setting("300/min", _optional)
    status_token = Setting(None, _optional)
    """What a monitoring system sends to read the status. If it is None, only members of staff may."""
    max_image_bytes = Setting(10 * 1024 * 1024, int)
    max_image_pixels = Setting(20_000_000, int)
    image_formats = Setting[tuple[str, ...]](["JPEG", "PNG", "WEBP", "GIF", "AVIF"], tuple)

    @property
    def raw(self) -> Mapping[str, Any]:
        """Return the dict CLIP_SEARCH as the project's settings contain it."""
        return getattr(django_settings, "CLIP_SEARCH", {})


conf = Conf()
DEFAULTS: Final[Mapping[str, Any]] = {
    setting.key: setting.default for setting in vars(Conf).values() if isinstance(setting, Setting)
}
"""The default of every key of CLIP_SEARCH."""
