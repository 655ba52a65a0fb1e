"""For tests of a shop and of this package: an encoder without a model and a store without a server.

What they answer depends on the content, and what they rank first is nearest. ::

    CLIP_SEARCH = {
        "ENCODER": "clip_search.testing.HashingEncoder",
        "QDRANT": {"backend": "clip_search.testing.MemoryStore"},
        "QUEUE": None,
    }
"""

from __future__ import annotations

from ..encoders import reset_encoders
from ..jobs import worker_state
from ..queue import reset_queue
from ..receivers import pause as pause_indexing
from ..stores import reset_stores
from .encoder import HashingEncoder
from .store import MemoryStore

__all__ = ["HashingEncoder", "MemoryStore", "pause_indexing", "reset"]


def reset() -> None:
    """Forget what this process keeps between requests: stores, encoders, connections, a request to stop."""
    reset_stores()
    reset_encoders()
    reset_queue()
    worker_state.reset()
