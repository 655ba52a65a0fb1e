"""Turn claimed entries into points of the store. `index_due()` is the way in for jobs and commands."""

from __future__ import annotations

from .embedding import Stopped
from .pipeline import BATCH, BATCHES_UNDER_WAY, LEASE, index_due

__all__ = ["BATCH", "BATCHES_UNDER_WAY", "LEASE", "Stopped", "index_due"]
