"""The collections of a document in the store: creating them, and repairing what the store lost."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.utils import timezone

from ..conf import conf
from ..documents.binding import BoundDocument
from ..encoders import get_encoder
from ..encoders.base import Encoder
from ..exceptions import CollectionMissing
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
    """Create a collection in the store, then its row. If another process was first, return that one's.

    A row that it replaces is deleted only then: the settings may name the wrong store, which may refuse.
    """
    name = f"{document.name}-{generation}-{uuid.uuid4().hex[:8]}"
    store.create(name, schema(document, encoder.dimension, mark=new_mark(document)))
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
        if theirs is None:  # it was found missing in the store since
            raise CollectionMissing from None
        return theirs


def new_mark(document: BoundDocument) -> dict[str, str]:
    """Return the mark of a collection that is made now: by whom and when, for whoever finds it later."""
    return {
        "installation": conf.installation,
        "database": Database.objects.number_of(document.using),
        "created_at": timezone.now().isoformat(),
    }


def schema(document: BoundDocument, dimension: int, *, mark: Mapping[str, str] | None = None) -> Schema:
    """Return what a collection of the document is created with."""
    return Schema(
        dimension=dimension,
        multiple_images=document.multiple_images,
        filters={key: field.kind for key, field in document.declaration.filter_fields.items()},
        options=conf.collection_options,
        mark=mark or {},
    )


def is_compatible(collection: Collection, document: BoundDocument) -> bool:
    """Return whether a collection was created for one image a product or for several, as declared now."""
    return has_multiple_images(collection, document) == document.multiple_images


def has_multiple_images(collection: Collection, document: BoundDocument) -> bool:
    """Return whether a collection was created for several images a product."""
    created_for = collection.multiple_images  # None if it was created before this was recorded
    return document.multiple_images if created_for is None else created_for


def repair(document: BoundDocument) -> None:
    """Create what the store lacks: collections that it lost, and indexes of filters declared since.

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
    """Replace the collections that the store does not have any more, and have everything indexed again.

    Return how many were missing. Raises StoreUnavailable and ModelUnavailable before it forgets a live one.
    """
    store, encoder = get_store(), get_encoder()
    missing = [c for c in Collection.objects.of(document).active() if not store.exists(c.name)]
    for collection in missing:
        logger.warning("Collection is missing, creating another collection=%s", collection.name)
        if collection.state == Collection.State.LIVE:
            create_collection(document, store, encoder, instead_of=collection)
        else:
            collection.delete()
    if missing:
        entries = IndexEntry.objects.of(document)
        entries.revoke_claims()  # or a worker that wrote to one just now would record it after this
        entries.mark_all_due()
    return len(missing)
