"""Give the collections of an earlier version the words of their products, without a CLIP model.

Such a collection has no vector "words", and its points have no words. The vector is added before the first
write. Then `clip_reindex` finds that all products differ, and writes them again with their stored vectors.
"""

from __future__ import annotations

import logging
from functools import lru_cache

from ..documents.binding import BoundDocument
from ..models import Collection, IndexEntry
from ..models.paging import ROWS_PER_STATEMENT, pages
from ..stores.base import Store
from .collections import schema
from .targets import Target, get_target

logger = logging.getLogger(__name__)


def prepare_for_words(target: Target) -> None:
    """Add the vector "words" to the collections that do not have it. Raises StoreUnavailable, SetupError."""
    for collection in target.writable:
        if not collection.has_words:
            _prepare_once(target.store, target.document, collection.name, collection.dimension)


@lru_cache(maxsize=64)
def _prepare_once(store: Store, document: BoundDocument, collection: str, dimension: int) -> None:
    if store.exists(collection):  # otherwise it would be created, and nobody would notice that it is empty
        store.create(collection, schema(document, dimension))


def record_words(document: BoundDocument) -> None:
    """Record which collections have the words of every product. Searches compare words in these.

    Call this after every product was compared with its point, and the changed ones were indexed. Products
    that failed do not count, because they may fail for ever. Those that are still pending do, unless the
    stored point has words: in a busy shop, some are always pending.
    """
    target = get_target(document)
    for collection in target.writable:
        if collection.has_words or _lacks_words(target, collection):
            continue
        Collection.objects.of(document).filter(pk=collection.pk).update(has_words=True)
        logger.info("Added words collection=%s", collection.name)


def _lacks_words(target: Target, collection: Collection) -> bool:
    """Return True if the stored point of a pending product has no words."""
    pending = IndexEntry.objects.of(target.document).filter(state=IndexEntry.State.PENDING)
    for entries in pages(pending.only("uuid"), ROWS_PER_STATEMENT):
        points = target.store.get(collection.name, [entry.uuid for entry in entries])
        if any(not point.stamp.removed and not point.stamp.words_hash for point in points.values()):
            return True
    return False
