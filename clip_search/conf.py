"""The one settings object: `CLIP_SEARCH`, typed, read at access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings as django_settings

from .exceptions import SetupError

DEFAULTS: Final[Mapping[str, Any]] = {
    "QDRANT": None,
    "MODEL": "sentence-transformers/clip-ViT-B-32",
    "TEXT_MODEL": None,
    "ENCODER": "clip_search.encoder.ClipEncoder",
    "DEVICE": "auto",
    "PRECISION": "auto",
    "BATCH_SIZE": "auto",
    "COLLECTION_OPTIONS": {},
    "QUEUE": "default",
    "AUTOSYNC": True,
    "API_DOCUMENT": None,
    "API_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "API_SEARCH_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "API_THROTTLE_RATE": "600/min",
    "API_SEARCH_THROTTLE_RATE": "60/min",
    "MAX_IMAGE_BYTES": 10 * 1024 * 1024,
    "MAX_IMAGE_PIXELS": 20_000_000,
    "IMAGE_FORMATS": ["JPEG", "PNG", "WEBP", "GIF", "AVIF"],
}


class ClipSearchSettings:
    """Typed view of `settings.CLIP_SEARCH`. Nothing is cached, so `override_settings` just works."""

    @property
    def raw(self) -> Mapping[str, Any]:
        """The dict as the host wrote it."""
        return getattr(django_settings, "CLIP_SEARCH", {})

    def _get(self, key: str) -> Any:
        return self.raw.get(key, DEFAULTS[key])

    @property
    def qdrant(self) -> Mapping[str, Any]:
        """Where the points live. Raises SetupError when it is not set."""
        value = self._get("QDRANT")
        if not value:
            raise SetupError(
                'CLIP_SEARCH["QDRANT"] is not set. Use {"url": "http://localhost:6333"} for a Qdrant server, '
                'or {"path": BASE_DIR / "qdrant"} for the embedded store.'
            )
        return dict(value)

    @property
    def model(self) -> str:
        return str(self._get("MODEL"))

    @property
    def text_model(self) -> str | None:
        value = self._get("TEXT_MODEL")
        return str(value) if value else None

    @property
    def encoder(self) -> str:
        """Dotted path of the encoder class."""
        return str(self._get("ENCODER"))

    @property
    def device(self) -> str:
        return str(self._get("DEVICE"))

    @property
    def precision(self) -> str:
        return str(self._get("PRECISION"))

    @property
    def batch_size(self) -> int | None:
        """Items a model call; None lets the encoder choose."""
        value = self._get("BATCH_SIZE")
        return None if value == "auto" else int(value)

    @property
    def collection_options(self) -> Mapping[str, Any]:
        return dict(self._get("COLLECTION_OPTIONS"))

    @property
    def queue(self) -> str | None:
        """Name in `RQ_QUEUES`; None indexes in the process that saves."""
        value = self._get("QUEUE")
        return str(value) if value else None

    @property
    def autosync(self) -> bool:
        return bool(self._get("AUTOSYNC"))

    @property
    def api_document(self) -> str | None:
        value = self._get("API_DOCUMENT")
        return str(value) if value else None

    @property
    def api_permission_classes(self) -> list[str]:
        return list(self._get("API_PERMISSION_CLASSES"))

    @property
    def api_search_permission_classes(self) -> list[str]:
        return list(self._get("API_SEARCH_PERMISSION_CLASSES"))

    @property
    def api_throttle_rate(self) -> str | None:
        return self._get("API_THROTTLE_RATE")  # type: ignore[no-any-return]

    @property
    def api_search_throttle_rate(self) -> str | None:
        return self._get("API_SEARCH_THROTTLE_RATE")  # type: ignore[no-any-return]

    @property
    def max_image_bytes(self) -> int:
        return int(self._get("MAX_IMAGE_BYTES"))

    @property
    def max_image_pixels(self) -> int:
        return int(self._get("MAX_IMAGE_PIXELS"))

    @property
    def image_formats(self) -> tuple[str, ...]:
        return tuple(self._get("IMAGE_FORMATS"))


conf = ClipSearchSettings()
