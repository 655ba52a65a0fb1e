"""Build a new collection while the old one is still searched, and then make it the live one."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
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
from ..stores.identity import is_foreign
from ..types import Report
from .collections import create_collection, is_compatible, remove_collection, replace_collections
from .pipeline import index_due

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
"""How long a rebuild may go without renewing its lease. Then another process may continue it."""


class RebuildRunning(ClipSearchError):
    """Another process is rebuilding this document, or has taken the rebuild over. Wait until it ends."""


class RebuildIncomplete(ClipSearchError):
    """Some products could not be indexed now, so the old collection stays live. Run `clip_rebuild` again."""


def rebuild(
    document: BoundDocument,
    *,
    images: bool = False,
    index: Callable[[BoundDocument], Iterator[Report]] = index_due,
) -> Iterator[Report]:
    """Build a new collection with the configured CLIP model and options, and make it the live one.

    Yield a report for each batch. Until the end, searches read the old collection; if the CLIP model was
    changed, searches by words or by a photo raise SearchUnavailable until then. A rebuild that was
    interrupted is continued. With `images`, all image files are read again, and embedded if their bytes
    differ; otherwise the vectors of images with the same signature are carried over. `index` indexes what is
    due, by default in this process. Raises RebuildRunning, RebuildIncomplete, BackendUnavailable, SetupError.
    """
    collection = start(document)
    with _leased(collection) as token:
        if images:
            IndexEntry.objects.of(document).read_images_again()
        remaining = IndexEntry.objects.of(document).filter(generation__lt=collection.generation)
        while remaining.exists():
            remaining.mark_all_due()
            before = remaining.count()
            for report in index(document):
                if not _renew_lease(collection, token):
                    raise _running(collection)  # this process stalled, so another one has taken over
                yield report
            if remaining.count() == before and not remaining.exclude(claim=None).exists():
                raise RebuildIncomplete
            time.sleep(0.1)  # wait for other workers, which may have claimed the last entries
        swap(collection, token)
        # Just before the swap, a worker with the old model may have finished entries in the old collection.
        if remaining.mark_all_due():
            yield from index(document)


def start(document: BoundDocument) -> Collection:
    """Return the collection to build: that of an interrupted rebuild if it fits the settings, else a new one.

    Raises RebuildRunning.
    """
    store, encoder = get_store(), get_encoder()
    rows = Collection.objects.of(document)
    foreign = [c for c in rows.active() if c.is_ours and is_foreign(store, c.name, c.dimension)]
    replace_collections(document, foreign, at_once=True)
    begun = rows.filter(state=Collection.State.BUILDING).first()
    if begun:
        same_model = begun.fingerprint == encoder.fingerprint
        if begun.is_ours and same_model and is_compatible(begun, document) and store.exists(begun.name):
            return begun
        if not _renew_lease(begun, uuid.uuid4()):
            raise _running(begun)
        remove_collection(begun)
    return create_collection(
        document,
        store,
        encoder,
        state=Collection.State.BUILDING,
        generation=_next_generation(document),
        at_once=True,
    )


def _next_generation(document: BoundDocument) -> int:
    """Return the generation of a new collection: higher than that of any other collection and any entry.

    Entries may have a higher generation than the collections, from a rebuild that was never completed.
    """
    # A collection that is still being created is left out: it may be the one that is taken up.
    collections = Collection.objects.of(document).exclude(state=Collection.State.CREATING)
    querysets = (collections, IndexEntry.objects.of(document))
    return 1 + max(queryset.aggregate(latest=Max("generation"))["latest"] or 0 for queryset in querysets)


def swap(collection: Collection, token: uuid.UUID) -> None:
    """Make the new collection the live one, and delete the old one.

    Raises RebuildRunning if another process has taken the rebuild over.
    """
    using = collection._state.db
    rows = Collection.objects.using(using).filter(document=collection.document)
    # A killed rebuild may have left a retired collection, and a document can have only one.
    for left in rows.filter(state=Collection.State.RETIRED):
        remove_collection(left)
    with transaction.atomic(using=using):
        mine = rows.filter(pk=collection.pk, state=Collection.State.BUILDING, holder=token)
        if not mine.select_for_update().exists():
            raise _running(collection)
        rows.filter(state=Collection.State.LIVE).update(state=Collection.State.RETIRED)
        mine.update(state=Collection.State.LIVE)
    for replaced in rows.filter(state=Collection.State.RETIRED):
        remove_collection(replaced)


def adopt(document: BoundDocument) -> int:
    """Write the name of this installation into the document's `Collection` rows. Return their number.

    Call this only if no other installation uses the collections.
    """
    return Collection.objects.of(document).update(installation=conf.installation)


def next_step(collection: Collection) -> str:
    """Return what continues or removes a collection that is not live, or "" if it is live."""
    using, name = collection._state.db, collection.document
    if collection.state == Collection.State.CREATING:
        is_first = not Collection.objects.using(using).filter(document=name, state="live").exists()
        reason = f"failed ({collection.refusal})" if collection.attempts else "was interrupted"
        command = "clip_reindex" if is_first else "clip_rebuild"
        return f"its creation {reason}: `manage.py {command} {name}` continues it"
    if collection.state == Collection.State.BUILDING:
        entries = IndexEntry.objects.using(using).filter(document=name)
        left = entries.filter(generation__lt=collection.generation).count()
        progress = f"{left} products to go" if left else "complete, but not swapped in"
        if collection.lease and collection.lease > timezone.now():
            return f"{progress}; a rebuild is at work, its claim ends at {collection.lease:%H:%M:%S %Z}"
        return f"{progress}; interrupted: `manage.py clip_rebuild {name}` continues it"
    if collection.state == Collection.State.RETIRED:
        return f"replaced by a rebuild: `manage.py clip_reindex {name}` removes it"
    return ""


@contextmanager
def _leased(collection: Collection) -> Iterator[uuid.UUID]:
    """Hold the lease of a rebuild inside the block, so that no other process builds the same collection.

    Raises RebuildRunning if another process has the lease.
    """
    token = uuid.uuid4()
    if not _renew_lease(collection, token):
        raise _running(collection)
    try:
        yield token
    finally:
        rows = Collection.objects.using(collection._state.db).filter(holder=token)
        rows.update(holder=None, lease=None)


def _running(collection: Collection) -> RebuildRunning:
    """Return the error that says until when another process has the lease of a rebuild."""
    rows = Collection.objects.using(collection._state.db).filter(pk=collection.pk)
    lease = rows.values_list("lease", flat=True).first()
    if lease is None:
        return RebuildRunning(f"Another process has ended the rebuild of {collection.document!r} meanwhile.")
    return RebuildRunning(
        f"Another process is rebuilding {collection.document!r}. It renews its claim; if it was killed, "
        f"another may continue after {lease:%H:%M:%S %Z}."
    )


def _renew_lease(collection: Collection, token: uuid.UUID) -> bool:
    """Take or renew the lease for `token`. Return False if another process has it."""
    now = timezone.now()
    free = Q(holder=None) | Q(holder=token) | Q(lease__lte=now)
    rows = Collection.objects.using(collection._state.db).filter(free, pk=collection.pk)
    return bool(rows.update(holder=token, lease=now + LEASE))
