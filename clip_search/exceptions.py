"""The exceptions of this package. Each docstring is the default message: the cause, and what to do."""

from __future__ import annotations

import re
from typing import Final

from django.core.exceptions import ImproperlyConfigured

USER_INFO: Final = re.compile(r"(?<=//)[^/\s]*@|^[^/\s@:]+:[^/\s]+@")


def without_password(text: str) -> str:
    """Return a text with the users and passwords of URLs hidden, as in https://user:password@host."""
    return USER_INFO.sub("********@", text)


def in_one_line(error: object) -> str:
    """Return an error's message in one line, without control characters and passwords, for a log.

    With control characters, a client could forge log lines: a database's error may quote what a client sent.
    """
    printable = "".join(char if char.isprintable() else " " for char in str(error))
    return without_password(" ".join(printable.split()))


class ClipSearchError(Exception):
    """Something in clip_search failed. All exceptions of this package are subclasses of this one."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(without_password(message or type(self).__doc__ or ""))


class SetupError(ClipSearchError, ImproperlyConfigured):
    """The settings are wrong, so trying again does not help. Run `manage.py check`."""


class RequestRefused(SetupError):
    """Qdrant refused a request as invalid. Its own reason is in the message. Run `manage.py check`."""


class ModelUnavailable(SetupError):
    """The CLIP model cannot be loaded. Set CLIP_SEARCH["MODEL"] to the name or folder of a CLIP model."""


class ModelChanged(SetupError):
    """The collection was built by another CLIP model. Run `manage.py clip_rebuild`, or restore MODEL."""


class ForeignCollection(SetupError):
    """The collection belongs to another installation. Run `manage.py clip_rebuild` to create your own."""


class AccessDenied(SetupError):
    """Qdrant refused the key. Check CLIP_SEARCH["QDRANT"]["api_key"]."""


class CollectionMismatch(ForeignCollection):
    """The collection in Qdrant is not the one that clip_search created. Run `manage.py clip_rebuild`."""


class InvalidDeclaration(SetupError):
    """A Document class declares something that is not possible. Run `manage.py check`."""


class BackendUnavailable(ClipSearchError):
    """A service such as Qdrant does not work now. Nothing is lost: indexing goes on when it works again."""


class StoreUnavailable(BackendUnavailable):
    """Qdrant did not answer. Check that it runs where CLIP_SEARCH["QDRANT"] says."""


class NoAnswer(StoreUnavailable):
    """Qdrant cannot be reached, or did not answer in time. Check that it runs where QDRANT says."""


class StoreRefused(StoreUnavailable):
    """Qdrant refused a request that it should carry out. Its own reason is in the message."""


class StoreBusy(StoreUnavailable):
    """Another process used the embedded store for too long. If this is frequent, use a Qdrant server."""


class StoreFull(StoreUnavailable):
    """The disk of the embedded store is nearly full. Free some space; indexing then goes on by itself."""


class CollectionMissing(StoreUnavailable):
    """Qdrant has no such collection. Run `manage.py clip_reindex`, which creates it again."""


class StorageUnavailable(BackendUnavailable):
    """The storage of an image failed or is full. Nothing is lost: the image will be tried again."""


class Postponed(BackendUnavailable):
    """The product is saved and will be indexed, but not now."""


class ProductError(ClipSearchError):
    """This product cannot be indexed as it is. Change the product, then save it."""


class BadImage(ProductError):
    """The image cannot be used. Upload a JPEG, PNG, WEBP, GIF or AVIF file."""


class UnknownFilter(ClipSearchError, ValueError):
    """The document does not declare this filter. Add it to `filter_fields`."""


class BadFilterValue(UnknownFilter):
    """The filter exists, but does not accept this value."""


class SearchUnavailable(ClipSearchError):
    """Search cannot answer now. The message of this error has the cause and the remedy."""


class SearchMisconfigured(SearchUnavailable, SetupError):
    """Search cannot answer until the settings are corrected. The message has the cause and the remedy."""
