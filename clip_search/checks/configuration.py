"""Checks of the settings in `CLIP_SEARCH`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage
from django.urls import URLResolver, get_resolver
from django.utils.module_loading import import_string

from .. import images
from ..conf import DEFAULTS, conf, is_port, is_seconds
from ..documents.registry import registry
from ..encoders.model_files import REMEDY, Source
from ..encoders.placement import PRECISIONS
from ..exceptions import without_password
from .messages import error, warning

BOTH_LINES: Final = (
    'Write CLIP_SEARCH = {"QDRANT": {"url": "http://localhost:6333"}} for a Qdrant server, or '
    'CLIP_SEARCH = {"QDRANT": {"path": BASE_DIR / "qdrant"}} for the embedded store.'
)
DEVICE: Final = re.compile(r"auto|cpu|mps|(cuda|xpu|npu)(:\d+)?")
TOKEN: Final = re.compile(r"[!-~]{20,}")
RATE: Final = re.compile(r"\d+/[smhd][a-z]*")
OPEN: Final = {
    f"rest_framework.permissions.{name}"
    for name in ("AllowAny", "IsAuthenticated", "IsAuthenticatedOrReadOnly")
}
"""Permission classes that allow writing to everybody, or to every customer with an account."""
OPEN_TO_READERS: Final = {
    f"rest_framework.permissions.{name}"
    for name in ("AllowAny", "IsAuthenticatedOrReadOnly", "DjangoModelPermissionsOrAnonReadOnly")
}
"""Permission classes that allow searching to clients that are not logged in."""


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check every key of CLIP_SEARCH."""
    if not isinstance(conf.raw, Mapping):
        return [error("clip_search.E001", "CLIP_SEARCH is no dict.", BOTH_LINES)]
    checks = (_keys, _types, _qdrant, _models, _hardware, _encoder, _formats, _api_document, _api_rules)
    return [message for check in checks for message in check()]


# The types of the values.


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _path(value: Any) -> bool:
    return _text(value) or isinstance(value, os.PathLike)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


TYPES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "QDRANT": (lambda value: value is None or isinstance(value, Mapping), 'a dict with "url" or "path"'),
    "MODEL": (_path, "the name or folder of a model"),
    "TEXT_MODEL": (lambda value: value is None or _path(value), "None, or the name or folder of a model"),
    "ENCODER": (_text, "the dotted path of a class"),
    "DEVICE": (_text, 'a string such as "auto" or "cuda:0"'),
    "PRECISION": (_text, 'a string such as "auto" or "bfloat16"'),
    "BATCH_SIZE": (lambda value: value == "auto" or _whole(value), '"auto" or a number from 1'),
    "ACCELERATE": (lambda value: isinstance(value, bool), "True or False"),
    "COLLECTION_OPTIONS": (lambda value: isinstance(value, Mapping), "a dict"),
    "INSTALLATION": (
        lambda value: value is None or (isinstance(value, str) and len(value) <= 100),
        'a name of at most 100 characters, such as "production"',
    ),
    "QUEUE": (lambda value: value is None or _text(value), "a name in RQ_QUEUES, or None"),
    "AUTOSYNC": (lambda value: isinstance(value, bool), "True or False"),
    "API_DOCUMENT": (_text_or_none, "the name of a document, or None"),
    "API_PERMISSION_CLASSES": (_texts, "a list of dotted paths"),
    "API_SEARCH_PERMISSION_CLASSES": (_texts, "a list of dotted paths"),
    "API_THROTTLE_RATE": (_text_or_none, 'a string such as "600/min", or None'),
    "API_SEARCH_THROTTLE_RATE": (_text_or_none, 'a string such as "60/min", or None'),
    "API_SUGGEST_THROTTLE_RATE": (_text_or_none, 'a string such as "300/min", or None'),
    "STATUS_TOKEN": (lambda value: value is None or _text(value), "a long random string, or None"),
    "MAX_IMAGE_BYTES": (_whole, "a number from 1"),
    "MAX_IMAGE_PIXELS": (_whole, "a number from 1"),
    "IMAGE_FORMATS": (lambda value: _texts(value) and len(value) > 0, 'a list such as ["JPEG", "PNG"]'),
}


def usable(key: str) -> Any:
    """Return the value of a setting, or its default if the value has the wrong type, which E003 reports."""
    raw = conf.raw if isinstance(conf.raw, Mapping) else {}
    value = raw.get(key, DEFAULTS[key])
    return value if TYPES[key][0](value) else DEFAULTS[key]


def _keys() -> Iterator[CheckMessage]:
    for key in conf.raw:
        if key not in DEFAULTS:
            near = difflib.get_close_matches(str(key).upper(), DEFAULTS, n=1, cutoff=0.0)
            hint = f'Did you mean "{near[0]}"? There are: {", ".join(DEFAULTS)}.'
            yield error("clip_search.E002", f'CLIP_SEARCH has no key "{key}".', hint)


def _types() -> Iterator[CheckMessage]:
    for key, value in conf.raw.items():
        if key in TYPES and not TYPES[key][0](value):
            # the value is not shown, because that of QDRANT may contain an API key
            message = f'CLIP_SEARCH["{key}"] must not be a {type(value).__name__}.'
            yield error("clip_search.E003", message, f"Make it {TYPES[key][1]}.")


# Checks of the store.


def _qdrant() -> Iterator[CheckMessage]:
    qdrant = usable("QDRANT")
    if not qdrant:
        yield error("clip_search.E004", 'CLIP_SEARCH["QDRANT"] is not set.', BOTH_LINES)
        return
    server, folder = "url" in qdrant or "host" in qdrant, "path" in qdrant
    if server and folder:
        yield error(
            "clip_search.E005",
            'CLIP_SEARCH["QDRANT"] names a server and a folder.',
            f"Keep one. {BOTH_LINES}",
        )
    elif not (server or folder or "backend" in qdrant):
        yield error(
            "clip_search.E005", 'CLIP_SEARCH["QDRANT"] names neither a server nor a folder.', BOTH_LINES
        )
    elif folder:
        yield from _embedded()
    elif server:
        yield from _server(qdrant)
    elif not _may_be_class(str(qdrant["backend"])):
        message = f'CLIP_SEARCH["QDRANT"]["backend"] names no class: {qdrant["backend"]!r}'
        yield error("clip_search.E018", message, "Name a store's class by its dotted path.")
    if any(without_password(url) != url for url in map(str, _urls(qdrant))):
        message = 'CLIP_SEARCH["QDRANT"]["url"] contains a user or a password, which is not sent to Qdrant.'
        hint = (
            'Write a key of Qdrant as "api_key", and the password of a proxy as "headers": {"Authorization": '
            '"Basic …"}.'
        )
        yield warning("clip_search.W007", message, hint)


def _server(qdrant: Mapping[str, Any]) -> Iterator[CheckMessage]:
    # the value is not shown, because it may contain a password
    urls, host = _urls(qdrant), qdrant.get("host")
    if "url" in qdrant and not (urls and all(map(_is_url, urls))):
        hint = (
            'Write it with http:// or https:// and a port, such as "http://localhost:6333". The nodes of a '
            "cluster are a list of such URLs."
        )
        yield error("clip_search.E017", 'CLIP_SEARCH["QDRANT"]["url"] is not a valid URL.', hint)
    elif "url" not in qdrant and (not _text(host) or set("/@") & set(str(host))):
        hint = 'Write a name such as "localhost", or write the complete URL as "url".'
        yield error("clip_search.E017", 'CLIP_SEARCH["QDRANT"]["host"] is not a host name.', hint)
    elif qdrant.get("api_key") and _is_sent_openly(qdrant):
        message = (
            'CLIP_SEARCH["QDRANT"]["api_key"] is sent over http://: who can read on the way has the key.'
        )
        hint = "Write https://. Silence this warning only if nobody else can read in the network."
        yield warning("clip_search.W012", message, hint)
    for name in ("port", "grpc_port"):
        if not (qdrant.get(name) is None or is_port(qdrant[name])):
            message = f'CLIP_SEARCH["QDRANT"]["{name}"] is not a port number: {qdrant[name]!r:.30}'
            yield error("clip_search.E020", message, "Write a whole number from 1 to 65535, not a string.")
    for name in ("timeout", "search_timeout"):
        if not (qdrant.get(name) is None or is_seconds(qdrant[name])):
            message = f'CLIP_SEARCH["QDRANT"]["{name}"] is not a number of seconds: {qdrant[name]!r:.30}'
            yield error("clip_search.E022", message, "Write a number above 0, such as 10, not a string.")
    if not usable("INSTALLATION"):
        message = 'A Qdrant server is used, and CLIP_SEARCH["INSTALLATION"] is not set.'
        hint = (
            'Set it to a name, such as "production". Otherwise a copy of the database writes to the same '
            "collections. Then run `manage.py clip_rebuild --adopt`, if there are collections."
        )
        yield warning("clip_search.W009", message, hint)


def _urls(qdrant: Mapping[str, Any]) -> Sequence[Any]:
    """Return the URL of a server, or those of the nodes of a cluster."""
    url = qdrant.get("url")
    return url if isinstance(url, list | tuple) else [url]


def _is_url(url: Any) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number up to 65535
        return False


def _is_sent_openly(qdrant: Mapping[str, Any]) -> bool:
    """Return whether requests leave this machine without encryption. qdrant-client's `host` means https."""
    if "url" not in qdrant:
        return qdrant.get("https") is False and not _is_this_machine(qdrant["host"])
    parts = map(urlsplit, _urls(qdrant))
    return any(part.scheme == "http" and not _is_this_machine(part.hostname or "") for part in parts)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _embedded() -> Iterator[CheckMessage]:
    if find_spec("qdrant_edge") is None:
        message = 'CLIP_SEARCH["QDRANT"] names a folder, but qdrant-edge-py is not installed.'
        yield error(
            "clip_search.E006",
            message,
            "Run `pip install django-clip-search[embedded]`, or use a Qdrant server.",
        )
    path = usable("QDRANT")["path"]
    if not _path(path):
        yield error("clip_search.E005", 'CLIP_SEARCH["QDRANT"]["path"] is not a path.', BOTH_LINES)
    elif not Path(path).is_absolute():
        message = 'CLIP_SEARCH["QDRANT"]["path"] is relative.'
        hint = 'Write BASE_DIR / "qdrant". Otherwise a process started elsewhere uses another, empty store.'
        yield warning("clip_search.W008", message, hint)
    if not settings.DEBUG:
        message = "The embedded Qdrant store is used with DEBUG = False."
        hint = (
            "It is for development, demos and shops up to about 20,000 products on one machine. Use a Qdrant "
            "server, or silence clip_search.W001."
        )
        yield warning("clip_search.W001", message, hint)


# Checks of the CLIP model.


def _models() -> Iterator[CheckMessage]:
    for key in ("MODEL", "TEXT_MODEL"):
        value = usable(key)
        if value and _is_folder_name(value) and not Path(value).expanduser().is_dir():
            message = f'CLIP_SEARCH["{key}"] names a folder that does not exist: {value}'
            yield error(
                "clip_search.E007", message, "Name the folder of a CLIP model, or a model such as org/name."
            )
        elif value and usable("ENCODER") == DEFAULTS["ENCODER"]:
            source = Source(key, str(value))
            folder = source.cached_folder()
            if folder and (fault := source.unproven(folder)):
                yield error("clip_search.E021", fault, REMEDY)


def _is_folder_name(value: Any) -> bool:
    """Return whether a value must be a folder. "org/name" may be the name of a model instead."""
    if not isinstance(value, str):
        return True
    return value.startswith((".", "~")) or Path(value).is_absolute() or len(Path(value).parts) > 2


def _hardware() -> Iterator[CheckMessage]:
    if not DEVICE.fullmatch(device := usable("DEVICE")):
        hint = 'Write "auto", "cpu", "cuda", "cuda:1" or "mps".'
        yield error("clip_search.E008", f'CLIP_SEARCH["DEVICE"] is not a known device: {device!r}', hint)
    known = ("auto", *PRECISIONS)
    if (precision := usable("PRECISION")) not in known:
        message = f'CLIP_SEARCH["PRECISION"] is not a known precision: {precision!r}'
        yield error("clip_search.E008", message, f"Write one of {', '.join(known)}.")


def _encoder() -> Iterator[CheckMessage]:
    if not _may_be_class(usable("ENCODER")):
        hint = f"Name a class by its dotted path, such as {DEFAULTS['ENCODER']}."
        yield error("clip_search.E009", f'CLIP_SEARCH["ENCODER"] names no class: {usable("ENCODER")!r}', hint)


def _may_be_class(path: str) -> bool:
    """Return False if no class has this dotted path.

    The module is not imported, because it may load a model.
    """
    module, _, name = path.rpartition(".")
    try:
        spec = find_spec(module) if module else None
        get_source = getattr(getattr(spec, "loader", None), "get_source", None)
        source = get_source(module) if get_source else None
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    # `import *` may import the name, and a source that cannot be read may define it
    return source is None or re.search(rf"\b{re.escape(name)}\b|import \*", source) is not None


def _formats() -> Iterator[CheckMessage]:
    pillow = images.Image  # type: ignore[attr-defined]
    pillow.init()
    known = sorted(pillow.OPEN)
    for name in usable("IMAGE_FORMATS"):
        if name.upper() not in known:
            message = f'CLIP_SEARCH["IMAGE_FORMATS"] names {name!r}, which the installed Pillow cannot read.'
            hint = f"Leave it out, or install a Pillow that can. This one reads {', '.join(known)}."
            yield error("clip_search.E010", message, hint)


# Checks of the endpoints.


def _api_document() -> Iterator[CheckMessage]:
    names, name = sorted(document.name for document in registry), usable("API_DOCUMENT")
    known = ", ".join(names) or "none"
    if name and name not in names:
        hint = f"Name a document that is registered. There are: {known}."
        yield error("clip_search.E011", f'CLIP_SEARCH["API_DOCUMENT"] names no document: {name!r}', hint)
    elif not name and len(names) > 1 and _endpoints_mounted():
        message = "The endpoints of clip_search are mounted, and several documents are registered."
        yield warning("clip_search.W003", message, f'Set CLIP_SEARCH["API_DOCUMENT"] to one of: {known}.')


def _endpoints_mounted() -> bool:
    if not getattr(settings, "ROOT_URLCONF", None):
        return False
    # not reverse(), because the shop may include the endpoints without a namespace
    waiting = list(get_resolver().url_patterns)
    while waiting:
        pattern = waiting.pop()
        if isinstance(pattern, URLResolver):
            waiting += pattern.url_patterns
        elif pattern.callback.__module__ == "clip_search.api.views":
            return True
    return False


def _api_rules() -> Iterator[CheckMessage]:
    for key in ("API_PERMISSION_CLASSES", "API_SEARCH_PERMISSION_CLASSES"):
        yield from _permission_classes(key, usable(key))
    if OPEN.issuperset(usable("API_PERMISSION_CLASSES")):
        message = "Anybody, or anybody with an account, may write to the index through the endpoints."
        hint = f'Set CLIP_SEARCH["API_PERMISSION_CLASSES"], such as to {DEFAULTS["API_PERMISSION_CLASSES"]}.'
        yield warning("clip_search.W002", message, hint)
    for key in ("API_THROTTLE_RATE", "API_SEARCH_THROTTLE_RATE", "API_SUGGEST_THROTTLE_RATE"):
        rate = usable(key)
        if rate is not None and not RATE.fullmatch(rate):
            hint = 'Write a number and s, min, hour or day, such as "60/min", or None for no limit.'
            yield error("clip_search.E013", f'CLIP_SEARCH["{key}"] is not a valid rate: {rate!r}', hint)
    yield from _proxies()
    if not (usable("STATUS_TOKEN") is None or TOKEN.fullmatch(usable("STATUS_TOKEN"))):
        message = 'CLIP_SEARCH["STATUS_TOKEN"] is too short, or has a character that cannot be sent.'
        hint = "Write 20 or more printable ASCII characters, such as those of secrets.token_urlsafe()."
        yield error("clip_search.E023", message, hint)


def _proxies() -> Iterator[CheckMessage]:
    is_open = OPEN_TO_READERS.issuperset(usable("API_SEARCH_PERMISSION_CLASSES"))
    is_counted = usable("API_SEARCH_THROTTLE_RATE") is not None
    proxies = getattr(settings, "REST_FRAMEWORK", {}).get("NUM_PROXIES")
    is_set = isinstance(proxies, int) and proxies >= 0
    if is_open and is_counted and not is_set and _endpoints_mounted():
        message = (
            'REST_FRAMEWORK["NUM_PROXIES"] is not set: a forged X-Forwarded-For avoids the search limit.'
        )
        hint = (
            'Write REST_FRAMEWORK = {"NUM_PROXIES": 1} if one proxy is in front of Django, and 0 if clients '
            "connect to it directly. The first proxy must replace X-Forwarded-For."
        )
        yield warning("clip_search.W010", message, hint)


def _permission_classes(key: str, paths: Sequence[str]) -> Iterator[CheckMessage]:
    for path in paths:
        try:
            found = hasattr(import_string(path), "has_permission")
        except ImportError:
            found = False
        if not found:
            hint = "Name a DRF permission class by its dotted path."
            yield error("clip_search.E012", f'CLIP_SEARCH["{key}"] names no permission class: {path!r}', hint)
