"""Where a batch of a document is written: its collections, the store and the model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..conf import conf
from ..documents.binding import BoundDocument
from ..encoders import get_encoder
from ..encoders.base import Encoder
from ..exceptions import ModelChanged
from ..models import Collection
from ..stores import get_store
from ..stores.base import Store
from .collections import create_collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a batch is written. It is decided when the batch is claimed, and does not change."""

    document: BoundDocument
    store: Store
    encoder: Encoder
    collections: Sequence[Collection]
    """Those of this installation."""
    writable: Sequence[Collection]
    """The collections that our model built."""
    generation: int
    """The newest generation that is written to."""


def get_target(document: BoundDocument) -> Target:
    """Return where the document's points are written now. Its first collection is created here.

    Raises ModelChanged, ForeignCollection, StoreUnavailable, ModelUnavailable.
    """
    store, encoder = get_store(), get_encoder()
    collections = Collection.objects.of(document).active()
    if not any(collection.state == Collection.State.LIVE for collection in collections):
        collections = [create_collection(document, store, encoder), *collections]
    own = [collection for collection in collections if collection.is_ours]
    if not own:
        collections[0].check_installation()
    writable = [c for c in own if c.fingerprint == encoder.fingerprint]
    if not writable:
        raise ModelChanged(
            f"The collection of {document.name!r} was built by another model than CLIP_SEARCH['MODEL'] = "
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
    """Keep every collection of the targets open; all processes open them in the same order."""
    stack = ExitStack()
    with stack:
        for name in sorted({collection.name for target in targets for collection in target.collections}):
            stack.enter_context(targets[0].store.session(name))
        return stack.pop_all()
