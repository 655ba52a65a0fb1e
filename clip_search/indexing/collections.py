"""Create the collections of a document in the store, and recreate those that the store has lost."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Any

from django.core import mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from ..conf import conf
from ..documents.binding import BoundDocument
from ..encoders import get_encoder
from ..encoders.base import Encoder
from ..exceptions import ClipSearchError, CollectionMissing
from ..models import Collection, Database, IndexEntry
from ..stores import get_store
from ..stores.base import Schema, Store

logger = logging.getLogger(__name__)


def create_collection(
    document: BoundDocument,
    store: Store,
    encoder: Encoder,
    *,
    state: str = Collection.State.LIVE,
    generation: int = 1,
    instead_of: Collection | None = None,
) -> Collection:
    """Create a collection in the store, then its `Collection` row, and return the row.

    If another process has created one at the same time, this one is destroyed, and the other row is returned.
    The row `instead_of` is deleted only after the store has created the new collection: if `QDRANT` names a
    wrong store, creating fails and the old row stays. Raises CollectionMissing if the other process's row was
    deleted in the meantime.
    """
    name = f"{document.name}-{generation}-{uuid.uuid4().hex[:8]}"
    store.create(name, schema(document, encoder.dimension, mark=new_mark(document)))
    _remove_after_tests(name)
    try:
        with transaction.atomic(using=document.using):
            if instead_of:
                instead_of.delete()
            return Collection.objects.using(document.using).create(
                document=document.name,
                name=name,
                installation=conf.installation,
                generation=generation,
                state=state,
                fingerprint=encoder.fingerprint,
                dimension=encoder.dimension,
                multiple_images=document.multiple_images,
            )
    except IntegrityError:
        store.destroy(name)
        theirs = Collection.objects.of(document).filter(state=state).first()
        if theirs is None:  # a third process has deleted the other row: the store had lost its collection
            raise CollectionMissing from None
        return theirs


def remove_collection(collection: Collection) -> None:
    """Delete a collection from the store, and then its row. If the store fails, the row stays.

    If another installation created the collection, only the row is deleted.
    """
    if collection.is_ours:
        get_store().destroy(collection.name)
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
        filters={key: field.kind for key, field in document.declaration.filter_fields.items()},
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
    """Recreate collections that the store has lost, and create the indexes of filters that are new.

    Collections of another installation are left alone. Raises StoreUnavailable, ModelUnavailable.
    """
    recreate_missing(document)
    rows = Collection.objects.of(document).filter(multiple_images=None)
    rows.update(multiple_images=document.multiple_images)
    store = get_store()
    for collection in Collection.objects.of(document).active():
        if collection.is_ours:
            store.create(collection.name, schema(document, collection.dimension))


def recreate_missing(document: BoundDocument) -> int:
    """Replace the collections that the store has lost. If there were any, all entries are due afterwards.

    Return how many collections were missing. If StoreUnavailable or ModelUnavailable is raised, the row of a
    live collection that was not replaced stays.
    """
    store, encoder = get_store(), get_encoder()
    missing = [c for c in Collection.objects.of(document).active() if not store.exists(c.name)]
    for collection in missing:
        logger.warning("The store has lost a collection, replacing it collection=%s", collection.name)
        if collection.state == Collection.State.LIVE:
            create_collection(document, store, encoder, instead_of=collection)
        else:
            collection.delete()
    if missing:
        entries = IndexEntry.objects.of(document)
        # Without this, a worker that has just written to a lost collection would mark its entries as indexed.
        entries.revoke_claims()
        entries.mark_all_due()
    return len(missing)
