"""Delete old tombstones, which are the points of removed products. `clip_reindex` calls this."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from ..documents.binding import BoundDocument
from ..models import IndexEntry
from ..models.paging import pages
from .targets import get_target

PAGE = 500
TOMBSTONES_KEPT = timedelta(days=30)
"""How long tombstones are kept: longer than any worker stalls, because they reject its late writes."""


def purge_tombstones(document: BoundDocument) -> int:
    """Delete the entries and tombstones of products that were removed more than TOMBSTONES_KEPT ago.

    Return the number of deleted entries.
    """
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
