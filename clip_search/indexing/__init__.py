"""Claimed entries become points: `index_due()` runs the pipeline."""

from __future__ import annotations

from .embedding import Stopped
from .pipeline import AHEAD, BATCH, LEASE, index_due

__all__ = ["AHEAD", "BATCH", "LEASE", "Stopped", "index_due"]
