"""What can go wrong, by whose fault it is, and what to do about it."""

from __future__ import annotations


def in_one_line(error: object) -> str:
    """Return what an error says in one line, for logs: a database's error quotes what clients sent."""
    printable = "".join(char if char.isprintable() else " " for char in str(error))
    return " ".join(printable.split())


class ClipSearchError(Exception):
    """Something in clip_search failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class SetupError(ClipSearchError):
    """The settings cannot work as they are. Run `manage.py check`. Retrying does not help."""


class ModelUnavailable(SetupError):
    """The model cannot be loaded. Set CLIP_SEARCH["MODEL"] to a CLIP model's name or folder."""


class ModelChanged(SetupError):
    """The collection was built by another model. Run `manage.py clip_rebuild`, or restore MODEL."""


class InvalidDeclaration(SetupError):
    """A Document declares what its model does not have. Run `manage.py check` for the field."""


class SurroundingsError(ClipSearchError):
    """Something outside is not working now. Nothing is lost: the work waits and is tried again."""


class StoreUnavailable(SurroundingsError):
    """Qdrant did not answer. Check that it runs where CLIP_SEARCH["QDRANT"] says."""


class StoreBusy(StoreUnavailable):
    """Another process held the embedded store too long. Use a Qdrant server if this is frequent."""


class StoreFull(StoreUnavailable):
    """The disk of the embedded store is nearly full. Free some space; work then resumes by itself."""


class CollectionMissing(StoreUnavailable):
    """Qdrant does not have the collection. Run `manage.py clip_reindex`: it is made again."""


class StorageUnavailable(SurroundingsError):
    """The storage of an image did not answer, or is full. Nothing is lost: it is tried again."""


class ProductError(ClipSearchError):
    """This product cannot be indexed as it is. Change the product, then save it."""


class BadImage(ProductError):
    """The image cannot be used. Upload a JPEG, PNG, WEBP, GIF or AVIF."""


class UnknownFilter(ClipSearchError, ValueError):
    """The document does not declare this filter. Add it to `filter_fields`."""


class BadFilterValue(UnknownFilter):
    """The filter exists, and can have no such value."""


class SearchUnavailable(ClipSearchError):
    """Search cannot answer now. The cause, and what to do about it, is in this error's message."""


class SearchTooDeep(ClipSearchError, ValueError):
    """Results end at a constant depth. Filter, or ask for fewer."""
