"""Where a document's points are written: its collections, the store and the model."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from ..conf import conf
from ..documents import Document
from ..encoder import Encoder, get_encoder
from ..exceptions import CollectionMissing, ModelChanged
from ..models import Collection, IndexEntry
from ..stores import get_store
from ..stores.base import Schema, Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a batch is written: decided when it is claimed, and kept."""

    document: Document
    store: Store
    encoder: Encoder
    collections: Sequence[Collection]

    @property
    def writable(self) -> list[Collection]:
        """The collections whose model is ours."""
        return [c for c in self.collections if c.fingerprint == self.encoder.fingerprint]

    @property
    def generation(self) -> int:
        return max(collection.generation for collection in self.writable)


def target(document: Document) -> Target:
    """Return where the document's points go now; its first collection is made here. Raises ModelChanged."""
    store, encoder = get_store(), get_encoder()
    collections = Collection.objects.of(document).active()
    if not any(collection.state == Collection.State.LIVE for collection in collections):
        collections = [make_collection(document, store, encoder), *collections]
    found = Target(document=document, store=store, encoder=encoder, collections=collections)
    if not found.writable:
        raise ModelChanged(
            f"The collection of {document.name!r} was built by another model than CLIP_SEARCH['MODEL'] = "
            f"{conf.model!r}. Run `manage.py clip_rebuild {document.name}`, or restore the setting."
        )
    return found


def held(*goals: Target) -> ExitStack:
    """Keep every collection of the goals open meanwhile; all processes do so in the same order."""
    stack = ExitStack()
    with stack:
        for name in sorted({collection.name for goal in goals for collection in goal.collections}):
            stack.enter_context(goals[0].store.held(name))
        return stack.pop_all()


def make_collection(
    document: Document,
    store: Store,
    encoder: Encoder,
    *,
    state: str = Collection.State.LIVE,
    generation: int = 1,
    instead_of: Collection | None = None,
) -> Collection:
    """Make a collection in the store, then its row; where another process was first, return that one's.

    A row that it is made instead of goes only then: the store may be the wrong one, and refuse.
    """
    name = f"{document.name}-{generation}-{uuid.uuid4().hex[:8]}"
    store.create(name, schema(document, encoder.dimension))
    try:
        with transaction.atomic(using=document.using):
            if instead_of:
                instead_of.delete()
            return Collection.objects.using(document.using).create(
                document=document.name,
                name=name,
                generation=generation,
                state=state,
                fingerprint=encoder.fingerprint,
                dimension=encoder.dimension,
                multiple_images=document.multiple_images,
            )
    except IntegrityError:
        store.destroy(name)
        theirs = Collection.objects.of(document).filter(state=state).first()
        if theirs is None:  # found missing in the store meanwhile
            raise CollectionMissing from None
        return theirs


def schema(document: Document, dimension: int) -> Schema:
    """Return what a collection of the document is made for."""
    return Schema(
        dimension=dimension,
        multiple_images=document.multiple_images,
        filters={key: filter_field.kind for key, filter_field in document.filter_fields.items()},
        options=conf.collection_options,
    )


def fits(collection: Collection, document: Document) -> bool:
    """Say whether a collection was made for as many images a product, one or several, as are declared now."""
    return takes_several(collection, document) == document.multiple_images


def takes_several(collection: Collection, document: Document) -> bool:
    """Say whether a collection was made for several images a product: while another is built, one is not."""
    made_for = collection.multiple_images  # None where it was made before that was noted
    return document.multiple_images if made_for is None else made_for


def mend(document: Document) -> None:
    """Make what the store lacks: collections that it lost, and indexes of filters that are declared since.

    Raises StoreUnavailable, ModelChanged.
    """
    mend_missing(document)
    rows = Collection.objects.of(document).filter(multiple_images=None)
    rows.update(multiple_images=document.multiple_images)
    goal = target(document)
    for collection in goal.collections:
        goal.store.create(collection.name, schema(document, collection.dimension))


def mend_missing(document: Document) -> int:
    """Forget the collections that the store does not have any more; everything is indexed anew.

    Returns how many were missing. Raises StoreUnavailable and ModelUnavailable, before it forgets a live one.
    """
    store, encoder = get_store(), get_encoder()
    missing = [c for c in Collection.objects.of(document).active() if not store.exists(c.name)]
    for collection in missing:
        logger.warning("Collection is missing, making another collection=%s", collection.name)
        if collection.state == Collection.State.LIVE:
            make_collection(document, store, encoder, instead_of=collection)
        else:
            collection.delete()
    if missing:
        entries = IndexEntry.objects.of(document)
        entries.disclaim()  # or who wrote to one just now would say so after all was forgotten
        entries.forget_index()
    return len(missing)
