"""A store for tests, which keeps its points in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..stores.server import ServerStore

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


class MemoryStore(ServerStore):
    """A `ServerStore` that uses qdrant-client's in-memory engine instead of a server.

    The options in `CLIP_SEARCH["QDRANT"]` have no effect, but different options give separate stores.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(location=":memory:")

    @contextmanager
    def _client_for(self, collection: str = "") -> Iterator[QdrantClient]:
        with warnings.catch_warnings(), super()._client_for(collection) as client:
            warnings.filterwarnings("ignore", "Payload indexes have no effect")
            yield client
