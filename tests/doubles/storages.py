"""A fake of a storage on another machine."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible


@deconstructible
class Bucket(Storage):
    """As S3Storage of django-storages: it has no paths, and a file replaces that of the same name."""

    file_overwrite = True

    def __init__(self) -> None:
        self.opened: list[str] = []

    def _file(self, name: str) -> Path:
        return Path(settings.MEDIA_ROOT) / "bucket" / name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _open(self, name: str, mode: str = "rb") -> ContentFile:
        self.opened.append(name)
        return ContentFile(self._file(name).read_bytes(), name=name)

    def _save(self, name: str, content: ContentFile) -> str:
        self._file(name).parent.mkdir(parents=True, exist_ok=True)
        self._file(name).write_bytes(content.read())
        return name

    def exists(self, name: str) -> bool:
        return self._file(name).exists()

    def delete(self, name: str) -> None:
        self._file(name).unlink(missing_ok=True)
