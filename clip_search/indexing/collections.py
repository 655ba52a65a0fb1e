"""Create the collections of a document in the store, and recreate those that the store has lost."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from multiprocessing.util import Finalize
from typing import Any

from django.core import mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from ..conf import conf
from ..documents.binding import BoundDocument
from ..documents.fields import index_kinds
from ..encoders import get_encoder
from ..encoders.base import Encoder
from ..exceptions import ClipSearchError, CollectionMissing, SetupError, StoreUnavailable, in_one_line
from ..models import Collection, Database, IndexEntry
from ..stores import get_store
from ..stores.base import Schema, Store
from ..stores.identity import check_identity, has_foreign_data
from .delays import backoff

logger = logging.getLogger(__name__)


def create_collection(
    document: BoundDocument,
    store: Store,
    encoder: Encoder,
    *,
    state: str = Collection.State.LIVE,
    generation: int = 1,
    instead_of: Collection | None = None,
    at_once: bool = False,
) -> Collection:
    """Create a collection in the store, and return its row in the state `state`.

    The row is saved before the store is asked, in the state "creating". So every collection has a row that
    names it, even if its creation fails or the process is killed. The next try takes up the same row and
    name. The next try is made only after a delay, unless `at_once`: until then, StoreUnavailable is raised.

    The row `instead_of` is deleted only after the store has created the new collection: if `QDRANT` names a
    wrong store, creating fails and the old row stays. If another process has created a collection at the same
    time, its row is returned. Raises CollectionMissing if that row was deleted in the meantime.
    """
    row = _row_to_create(document, encoder, generation, at_once=at_once)
    try:
        store.create(row.name, schema(document, row.dimension, mark=new_mark(document)))
    except (StoreUnavailable, SetupError) as error:
        _record_failure(row, error)
        raise
    rows = Collection.objects.of(document)
    mine = rows.filter(pk=row.pk, state=Collection.State.CREATING)
    with suppress(IntegrityError), transaction.atomic(using=document.using):  # only one row may have `state`
        # The first update locks the row, so that of several processes only one goes on.
        if mine.update(attempts=0, not_before=None, refusal="", refused_at=None):
            if instead_of:
                instead_of.delete()
            mine.update(state=state, has_words=True)
    if mine.exists() or not rows.filter(pk=row.pk).exists():  # another process has created one instead
        remove_collection(row)
    found = rows.filter(state=state).first()
    if found is None:  # a third process has deleted that row, or uses it in another state
        raise CollectionMissing
    return found


def _row_to_create(
    document: BoundDocument, encoder: Encoder, generation: int, *, at_once: bool
) -> Collection:
    """Return the row of the collection to create: that of an earlier try if it fits, else a new one.

    Raises StoreUnavailable if the earlier try failed and its delay is not over, unless `at_once`.
    """

    def fits(row: Collection) -> bool:
        same_model = (row.fingerprint, row.dimension) == (encoder.fingerprint, encoder.dimension)
        return row.is_ours and same_model and is_compatible(row, document) and row.generation >= generation

    for left in Collection.objects.of(document).filter(state=Collection.State.CREATING):
        if left.not_before and left.not_before > timezone.now() and not at_once:
            raise StoreUnavailable(
                f"The collection of {document.name!r} cannot be created: {left.refusal.rstrip('.')}. It is "
                f"tried again at {left.not_before:%H:%M:%S %Z}, and at once by `manage.py clip_reindex`."
            )
        if not fits(left):
            remove_collection(left)
    row, is_new = Collection.objects.using(document.using).get_or_create(
        document=document.name,
        state=Collection.State.CREATING,
        defaults={
            "name": f"{document.name}-{generation}-{uuid.uuid4().hex[:8]}",
            "installation": conf.installation,
            "generation": generation,
            "fingerprint": encoder.fingerprint,
            "dimension": encoder.dimension,
            "multiple_images": document.multiple_images,
        },
    )
    if is_new:
        _remove_after_tests(row.name)
    elif not fits(row):
        raise StoreUnavailable(
            f"Another process with other settings is creating a collection of {document.name!r}. Restart the "
            "processes that have old settings."
        )
    return row


def _record_failure(row: Collection, error: StoreUnavailable | SetupError) -> None:
    """Save why a collection could not be created, and when that is tried again.

    If the settings were wrong, there is no delay: whether the corrected ones work should be seen at once.
    """
    now, delay = timezone.now(), timedelta(seconds=backoff(row.attempts + 1))
    rows = Collection.objects.using(row._state.db).filter(pk=row.pk, state=Collection.State.CREATING)
    rows.update(
        attempts=row.attempts + 1,
        not_before=None if isinstance(error, SetupError) else now + delay,
        refusal=in_one_line(error),
        refused_at=now,
    )


def remove_collection(collection: Collection) -> None:
    """Delete a collection from the store, and then its row. If the store fails, the row stays.

    If another installation created the collection, or another program has written to it, only the row is
    deleted.
    """
    store = get_store()
    if collection.is_ours:
        if has_foreign_data(store, collection.name, collection.dimension):
            logger.warning("Leaving a collection with data of others collection=%s", collection.name)
        else:
            store.destroy(collection.name)
    collection.delete()
    logger.info("Removed collection=%s installation=%s", collection.name, collection.installation)


def _remove_after_tests(name: str) -> None:
    """Remove a collection when the process ends, if the process runs tests.

    The row of the collection disappears with the test database, so nothing else would remove the collection.
    """
    if hasattr(mail, "outbox") and "backend" not in conf.qdrant:  # Django's test runner creates `outbox`
        # Unlike atexit, this works in the processes of `test --parallel` too.
        Finalize(None, _remove_if_configured, args=(conf.qdrant, name), exitpriority=10)


def _remove_if_configured(qdrant: Mapping[str, Any], name: str) -> None:
    """Remove a collection if `QDRANT` is still the setting with which the collection was created."""
    if conf.qdrant == qdrant:
        with suppress(ClipSearchError):
            get_store().destroy(name)


def new_mark(document: BoundDocument) -> dict[str, str]:
    """Return what the store keeps with a new collection: its installation, its database and the time."""
    return {
        "installation": conf.installation,
        "database": Database.objects.number_of(document.using),
        "created_at": timezone.now().isoformat(),
    }


def schema(document: BoundDocument, dimension: int, *, mark: Mapping[str, str] | None = None) -> Schema:
    """Return the schema of a new collection: vector length, filters, and the setting COLLECTION_OPTIONS."""
    return Schema(
        dimension=dimension,
        multiple_images=document.multiple_images,
        filters=index_kinds(document.declaration.filter_fields),
        options=conf.collection_options,
        mark=mark or {},
    )


def is_compatible(collection: Collection, document: BoundDocument) -> bool:
    """Return True if the document and the collection both have one image per product, or both several."""
    return has_multiple_images(collection, document) == document.multiple_images


def has_multiple_images(collection: Collection, document: BoundDocument) -> bool:
    """Return True if the collection was created for several images per product."""
    created_for = collection.multiple_images  # None in a collection of a version that did not record this
    return document.multiple_images if created_for is None else created_for


def repair(document: BoundDocument) -> None:
    """Create the collections that are missing and the indexes of filters that are new. Remove retired ones.

    A creation that failed is tried again at once. Collections of another installation are left alone. Raises
    CollectionMismatch, StoreUnavailable, ModelUnavailable.
    """
    recreate_missing(document, at_once=True)
    rows, store = Collection.objects.of(document), get_store()
    if Collection.objects.live(document) is None:
        create_collection(document, store, get_encoder(), at_once=True)
    for replaced in rows.filter(state=Collection.State.RETIRED):  # left by a rebuild that was killed
        remove_collection(replaced)
    rows.filter(multiple_images=None).update(multiple_images=document.multiple_images)
    for collection in rows.active():
        if collection.is_ours:
            check_identity(store, collection.name, collection.dimension)
            store.create(collection.name, schema(document, collection.dimension))


def recreate_missing(document: BoundDocument, *, at_once: bool = False) -> int:
    """Replace the collections that the store has lost. If there were any, all entries are due afterwards.

    Return how many collections were missing. If StoreUnavailable or ModelUnavailable is raised, the row of a
    live collection that was not replaced stays. With `at_once`, the delay after a failed try is not awaited.
    """
    store = get_store()
    missing = [c for c in Collection.objects.of(document).active() if not store.exists(c.name)]
    replace_collections(document, missing, at_once=at_once)
    return len(missing)


def replace_collections(document: BoundDocument, lost: Sequence[Collection], *, at_once: bool) -> None:
    """Replace a lost live collection by a new one, and forget other lost ones. All entries are due then.

    What the store has under the names of the lost ones is neither read nor deleted.
    """
    store, encoder = get_store(), get_encoder()
    for collection in lost:
        logger.warning("Replacing a collection that is lost or not ours collection=%s", collection.name)
        if collection.state == Collection.State.LIVE:
            create_collection(document, store, encoder, instead_of=collection, at_once=at_once)
        else:
            collection.delete()
    if lost:
        entries = IndexEntry.objects.of(document)
        # Without this, a worker that has just written to a lost collection would mark its entries as indexed.
        entries.revoke_claims()
        entries.mark_all_due()
