"""Index products: turn entries into points of the store. RQ jobs and commands call `index_due()`.

An entry (`IndexEntry`) says that a product must be indexed. A worker claims it, so that no other worker
indexes the same product at the same time. A point is the product in the store: its vectors and payload.
"""

from __future__ import annotations

from .embedding import Stopped
from .pipeline import BATCH, BATCHES_UNDER_WAY, LEASE, POLL_SECONDS, fair_share, index_due

__all__ = ["BATCH", "BATCHES_UNDER_WAY", "LEASE", "POLL_SECONDS", "Stopped", "fair_share", "index_due"]
