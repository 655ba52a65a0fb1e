"""A store that counts what is written, and fails when told to."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from qdrant_client import QdrantClient

from clip_search.exceptions import StoreUnavailable
from clip_search.testing import MemoryStore


class FaultyStore(MemoryStore):
    """Counts what is written. While `faults` lasts, each use of the store takes one of it and raises it."""

    faults: ClassVar[list[Exception]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.written = 0

    def get(self, *args: Any, **kwargs: Any) -> Any:
        self._stumble()
        return super().get(*args, **kwargs)

    def put(self, collection: str, points: Any) -> None:
        self._stumble()
        self.written += len(points)
        super().put(collection, points)

    def drop(self, collection: str, points: Any) -> None:
        self._stumble()
        self.written += len(points)
        super().drop(collection, points)

    def lose(self, collection: str, point_id: uuid.UUID, vector: str = "") -> None:
        """Lose a point, or one of its vectors, as a damaged store does."""

        def damage(client: QdrantClient) -> None:
            if vector:
                client.delete_vectors(collection, [vector], [str(point_id)])
            else:
                client.delete(collection, [str(point_id)])

        self._ask(damage, collection)

    def _stumble(self) -> None:
        if self.faults:
            raise self.faults.pop(0)


def down(times: int) -> list[Exception]:
    """Return the faults of a Qdrant that does not answer so often."""
    return [StoreUnavailable() for _ in range(times)]
