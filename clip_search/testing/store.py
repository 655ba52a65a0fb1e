"""A store for tests, which keeps its points in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..stores.nodes import Answer
from ..stores.server import ServerStore

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


class MemoryStore(ServerStore):
    """A `ServerStore` that uses qdrant-client's in-memory engine instead of a server.

    The options in `CLIP_SEARCH["QDRANT"]` have no effect, but different options give separate stores.
    """

    is_exclusive = True

    def __init__(self, **options: Any) -> None:
        # with two different timeouts, there would be two clients, each with a memory of its own
        super().__init__(location=":memory:", timeout=1, search_timeout=1)

    def _ask(
        self, request: Callable[[QdrantClient], Answer], collection: str = "", *, search: bool = False
    ) -> Answer:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Payload indexes have no effect")
            return super()._ask(request, collection, search=search)
