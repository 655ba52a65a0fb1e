"""For tests: `HashingEncoder` needs no CLIP model, and `MemoryStore` needs no Qdrant server.

Searches still rank similar products first. Use both in the settings of your tests::

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
from ..searching.suggesting import reset_categories
from ..searching.vocabulary import reset_vocabularies
from ..stores import reset_stores
from .encoder import HashingEncoder
from .store import MemoryStore

__all__ = ["HashingEncoder", "MemoryStore", "pause_indexing", "reset"]


def reset() -> None:
    """Forget all that this process keeps between requests: stores, encoders, words, connections to Redis.

    If the worker was asked to stop, this is forgotten too. Call it between tests that change settings.
    """
    reset_stores()
    reset_encoders()
    reset_queue()
    reset_vocabularies()
    reset_categories()
    worker_state.reset()
