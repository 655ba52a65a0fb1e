"""Tells whether a collection in the store is the one that clip_search created, or that of another program."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from ..exceptions import CollectionMismatch, CollectionMissing
from ..types import IMAGE, TEXT
from .base import REMEDY, Store


def check_identity(store: Store, collection: str, dimension: int) -> None:
    """Raise CollectionMismatch if the collection is not one that clip_search created with this dimension.

    Raises CollectionMissing if no collection has this name, StoreUnavailable.
    """
    expected, found = dict.fromkeys((TEXT, IMAGE), dimension), store.vectors(collection)
    if found is not None and not expected.items() <= found.items():
        raise CollectionMismatch(
            f"The collection {collection} in Qdrant is not the one that clip_search created: its vectors are "
            f"{found}, not {expected}. {REMEDY}"
        )
    if not store.mark(collection):  # the mark may be lost, as in a restored snapshot, so the points decide
        store.scroll(collection, limit=1)  # raises CollectionMismatch


@lru_cache(maxsize=16)
def check_identity_once(store: Store, collection: str, dimension: int) -> None:
    """Like `check_identity()`, but ask the store only once in each process."""
    check_identity(store, collection, dimension)


def check_contents(store: Store, collection: str, dimension: int) -> None:
    """Like `check_identity()`, but raise CollectionMismatch also if some points were written by others."""
    check_identity(store, collection, dimension)
    if store.has_foreign_points(collection):
        raise CollectionMismatch(
            f"Some points in the collection {collection} were not written by clip_search. {REMEDY}"
        )


def is_foreign(store: Store, collection: str, dimension: int) -> bool:
    """Return True if another program has created the collection."""
    return _is_mismatch(check_identity, store, collection, dimension)


def has_foreign_data(store: Store, collection: str, dimension: int) -> bool:
    """Return True if another program has created a collection or written to it, so it must not be deleted."""
    return _is_mismatch(check_contents, store, collection, dimension)


def _is_mismatch(
    check: Callable[[Store, str, int], None], store: Store, collection: str, dimension: int
) -> bool:
    """Return True if the check raises CollectionMismatch, and False if the collection does not exist."""
    try:
        check(store, collection, dimension)
    except CollectionMismatch:
        return True
    except CollectionMissing:
        return False
    return False
