"""Build a new collection beside the live one, and swap them."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from ..conf import conf
from ..documents.binding import BoundDocument
from ..encoders import get_encoder
from ..exceptions import ClipSearchError
from ..models import Collection, IndexEntry
from ..stores import get_store
from ..types import Report
from .collections import create_collection, is_compatible
from .pipeline import BATCH, index_due

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
"""How long a rebuild that was killed keeps others from continuing it."""


class RebuildRunning(ClipSearchError):
    """Another process is rebuilding this document. Wait for it, or for its lease to end."""


class RebuildIncomplete(ClipSearchError):
    """Some products could not be indexed now. The live collection stays; run `clip_rebuild` again."""


def rebuild(document: BoundDocument, *, batch_size: int = BATCH) -> Iterator[Report]:
    """Build a collection with the configured model and options, index everything into it, and swap.

    Yield a report for each batch. Until the swap, searches use the live collection, if the configured model
    built it. A rebuild that was interrupted is continued. Raises RebuildRunning, RebuildIncomplete,
    BackendUnavailable, SetupError.
    """
    collection = start(document)
    with _leased(collection) as token:
        stale = IndexEntry.objects.of(document).filter(generation__lt=collection.generation)
        while stale.exists():
            stale.mark_all_due()
            before = stale.count()
            for report in index_due(document, next_batch_size=lambda: batch_size):
                if not _renew_lease(collection, token):
                    raise RebuildRunning  # this process stalled, and another one continues
                yield report
            if stale.count() == before and not stale.exclude(claim=None).exists():
                raise RebuildIncomplete
            time.sleep(0.1)  # other workers may have claimed the last of them
        swap(collection, token)
        if stale.mark_all_due():  # what a worker with the former model finished just before the swap
            yield from index_due(document, next_batch_size=lambda: batch_size)


def start(document: BoundDocument) -> Collection:
    """Return the collection to build: the one that was begun if it still fits the settings, else a new one.

    Raises RebuildRunning.
    """
    store, encoder = get_store(), get_encoder()
    rows = Collection.objects.of(document)
    begun = rows.filter(state=Collection.State.BUILDING).first()
    if begun:
        same_model = begun.fingerprint == encoder.fingerprint
        if begun.is_ours and same_model and is_compatible(begun, document) and store.exists(begun.name):
            return begun
        if not _renew_lease(begun, uuid.uuid4()):
            raise RebuildRunning
        _remove(begun)
    return create_collection(
        document, store, encoder, state=Collection.State.BUILDING, generation=_next_generation(document)
    )


def _next_generation(document: BoundDocument) -> int:
    """Return a generation that no entry was ever written for, also not by a rebuild that was given up."""
    querysets = (Collection.objects.of(document), IndexEntry.objects.of(document))
    return 1 + max(queryset.aggregate(latest=Max("generation"))["latest"] or 0 for queryset in querysets)


def swap(collection: Collection, token: uuid.UUID) -> None:
    """Make the built collection the live one, then remove the old one. Raises RebuildRunning."""
    using = collection._state.db
    rows = Collection.objects.using(using).filter(document=collection.document)
    for left in rows.filter(state=Collection.State.RETIRED):
        _remove(left)
    with transaction.atomic(using=using):
        mine = rows.filter(pk=collection.pk, state=Collection.State.BUILDING, holder=token)
        if not mine.select_for_update().exists():
            raise RebuildRunning
        rows.filter(state=Collection.State.LIVE).update(state=Collection.State.RETIRED)
        mine.update(state=Collection.State.LIVE)
    for replaced in rows.filter(state=Collection.State.RETIRED):
        _remove(replaced)


def _remove(collection: Collection) -> None:
    """Delete a collection and its row. One of another installation stays in the store."""
    if collection.is_ours:
        get_store().destroy(collection.name)
    collection.delete()
    logger.info("Removed collection=%s installation=%s", collection.name, collection.installation)


def adopt(document: BoundDocument) -> int:
    """Make the document's collections this installation's own, if nobody else uses them. Return how many."""
    return Collection.objects.of(document).update(installation=conf.installation)


@contextmanager
def _leased(collection: Collection) -> Iterator[uuid.UUID]:
    """Hold the lease of a rebuild, so that no second process builds the same collection."""
    token = uuid.uuid4()
    if not _renew_lease(collection, token):
        raise RebuildRunning
    try:
        yield token
    finally:
        rows = Collection.objects.using(collection._state.db).filter(holder=token)
        rows.update(holder=None, lease=None)


def _renew_lease(collection: Collection, token: uuid.UUID) -> bool:
    """Take or renew the lease. Return whether it is ours."""
    now = timezone.now()
    free = Q(holder=None) | Q(holder=token) | Q(lease__lte=now)
    rows = Collection.objects.using(collection._state.db).filter(free, pk=collection.pk)
    return bool(rows.update(holder=token, lease=now + LEASE))
