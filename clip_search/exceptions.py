"""The errors of this package: what is at fault, and what to do about it."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


def in_one_line(error: object) -> str:
    """Return an error's message in one line, for logs: a database's error quotes what clients sent."""
    printable = "".join(char if char.isprintable() else " " for char in str(error))
    return " ".join(printable.split())


class ClipSearchError(Exception):
    """Something in clip_search failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class SetupError(ClipSearchError, ImproperlyConfigured):
    """The settings cannot work as they are. Run `manage.py check`. Retrying does not help."""


class ModelUnavailable(SetupError):
    """The model cannot be loaded. Set CLIP_SEARCH["MODEL"] to a CLIP model's name or folder."""


class ModelChanged(SetupError):
    """The collection was built by another model. Run `manage.py clip_rebuild`, or restore MODEL."""


class ForeignCollection(SetupError):
    """The collection belongs to another installation. Run `manage.py clip_rebuild` to make an own one."""


class InvalidDeclaration(SetupError):
    """A Document declares something that is not possible. Run `manage.py check`."""


class BackendUnavailable(ClipSearchError):
    """Something outside does not work now. Nothing is lost: the work waits and is tried again."""


class StoreUnavailable(BackendUnavailable):
    """Qdrant did not answer. Check that it runs where CLIP_SEARCH["QDRANT"] says."""


class StoreBusy(StoreUnavailable):
    """Another process used the embedded store for too long. If this is frequent, use a Qdrant server."""


class StoreFull(StoreUnavailable):
    """The disk of the embedded store is nearly full. Free some space; work then resumes by itself."""


class CollectionMissing(StoreUnavailable):
    """Qdrant has no such collection. Run `manage.py clip_reindex`, which creates it again."""


class StorageUnavailable(BackendUnavailable):
    """The storage of an image did not answer, or is full. Nothing is lost: it is tried again."""


class Postponed(BackendUnavailable):
    """The product is saved and will be indexed, but not now."""


class ProductError(ClipSearchError):
    """This product cannot be indexed as it is. Change the product, then save it."""


class BadImage(ProductError):
    """The image cannot be used. Upload a JPEG, PNG, WEBP, GIF or AVIF."""


class UnknownFilter(ClipSearchError, ValueError):
    """The document does not declare this filter. Add it to `filter_fields`."""


class BadFilterValue(UnknownFilter):
    """The filter exists, but cannot have such a value."""


class SearchUnavailable(ClipSearchError):
    """Search cannot answer now. The message of this error has the cause and the remedy."""


class SearchMisconfigured(SearchUnavailable, SetupError):
    """Search cannot answer until the settings are corrected. The message has the cause and the remedy."""


class SearchTooDeep(ClipSearchError, ValueError):
    """Results end at a constant depth. Filter, or ask for fewer."""
