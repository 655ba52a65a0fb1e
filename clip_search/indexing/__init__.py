"""The pipeline: claimed entries become points.

    claim ─▶ read ─▶ decode ─▶ embed ─▶ write ─▶ finish
             rows,   threads   one      store    entries
             stamps            thread

While one batch is embedded, the next is decoded: at most `AHEAD` batches are under way. Once the model is
done with a batch, it is written, and the next one read, in one opening of the store.
"""

from __future__ import annotations

from .embedding import Stopped
from .items import Item, same
from .pipeline import AHEAD, BATCH, LEASE, Pipeline, index_due
from .reading import Reading, content_or_fault, items_of, look_up
from .targets import Target, fits, make_collection, mend, mend_missing, target
from .writing import state_of

__all__ = [
    "AHEAD",
    "BATCH",
    "LEASE",
    "Item",
    "Pipeline",
    "Reading",
    "Stopped",
    "Target",
    "content_or_fault",
    "fits",
    "index_due",
    "items_of",
    "look_up",
    "make_collection",
    "mend",
    "mend_missing",
    "same",
    "state_of",
    "target",
]
