"""`Target`: the collections, the store and the encoder with which a batch of entries is indexed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from ..conf import conf
from ..documents.binding import BoundDocument
from ..encoders import get_encoder
from ..encoders.base import Encoder
from ..exceptions import ModelChanged, StoreUnavailable
from ..models import Collection, IndexEntry
from ..stores import get_store
from ..stores.base import Store
from ..stores.identity import check_identity_once
from ..types import Content
from .collections import create_collection
from .items import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The collections that a batch is written to, with the store and the encoder.

    A batch keeps the target that `get_target()` returned after its claim, even if a rebuild starts later.
    """

    document: BoundDocument
    store: Store
    encoder: Encoder
    collections: Sequence[Collection]
    """The live collection, and the one that a rebuild is building, if this installation created them."""
    writable: Sequence[Collection]
    """Those of the collections that the configured CLIP model built."""
    generation: int
    """The highest generation among the writable collections."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Why the last write was refused, by the name of the collection; "" after a write that succeeded."""

    def item(self, entry: IndexEntry, content: Content | None = None, error: str = "") -> Item:
        """Return an item for an entry of the document."""
        return Item(
            entry=entry,
            fingerprint=self.encoder.fingerprint,
            analyser=self.document.analyser,
            content=content,
            error=error,
        )


def get_target(document: BoundDocument) -> Target:
    """Return the target that the document's entries are written to now.

    If the document has no live collection, it is created. Raises ModelChanged if another CLIP model built the
    collections, ForeignCollection if another installation created them, CollectionMismatch if
    another program's have their names, StoreUnavailable, ModelUnavailable.
    """
    store, encoder = get_store(), get_encoder()
    collections = Collection.objects.of(document).active()
    if not any(collection.state == Collection.State.LIVE for collection in collections):
        collections = [create_collection(document, store, encoder), *collections]
    own = [collection for collection in collections if collection.is_ours]
    if not own:
        collections[0].check_installation()
    for collection in own:
        with suppress(StoreUnavailable):  # writing will say so
            check_identity_once(store, collection.name, collection.dimension)
    # `encoder.dimension` would load the CLIP model, which a run that changes nothing does not need
    writable = [c for c in own if c.fingerprint == encoder.fingerprint]
    if not writable:
        raise ModelChanged(
            f"The collection of {document.name!r} was built by another CLIP model than CLIP_SEARCH['MODEL'], "
            f"{conf.model!r}. Run `manage.py clip_rebuild {document.name}`, or restore the setting."
        )
    return Target(
        document=document,
        store=store,
        encoder=encoder,
        collections=own,
        writable=writable,
        generation=max(collection.generation for collection in writable),
    )


def opened(*targets: Target) -> ExitStack:
    """Open every collection of the targets, and return the context manager that closes them.

    They are opened in the order of their names: processes that open two in different orders would deadlock.
    """
    stack = ExitStack()
    with stack:
        for name in sorted({collection.name for target in targets for collection in target.collections}):
            stack.enter_context(targets[0].store.session(name))
        return stack.pop_all()
