"""Deleting old tombstones, in the nightly run."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from ..documents.binding import BoundDocument
from ..models import IndexEntry
from ..models.paging import pages
from .targets import get_target

PAGE = 500
TOMBSTONES_KEPT = timedelta(days=30)
"""Longer than any worker stalls: until then, a tombstone rejects what such a worker would still write."""


def purge_tombstones(document: BoundDocument) -> int:
    """Delete the entries and tombstones of products that were removed long ago. Return how many."""
    old = IndexEntry.objects.of(document).filter(
        state=IndexEntry.State.REMOVED, claim=None, indexed_at__lt=timezone.now() - TOMBSTONES_KEPT
    )
    target, purged = get_target(document), 0
    for entries in pages(old, PAGE):
        ids = [entry.uuid for entry in entries]
        for collection in target.collections:
            target.store.purge(collection.name, ids)
        keys = [entry.pk for entry in entries]
        purged += old.filter(pk__in=keys).delete()[0]
    return purged
