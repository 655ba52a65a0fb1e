"""`QdrantStore`: the common base class of the server store and the embedded store."""

from __future__ import annotations

import re
import uuid
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from ..exceptions import CollectionMismatch, RequestRefused, SetupError
from ..types import Point, Stamp
from .base import CLIP, INDEXED, REMEDY, Condition, Query, Schema, ScoredPoint, Store, tombstone
from .filters import Dialect, matching, older, tombstones

OTHER_VECTORS = re.compile(r"dimension|vector name|vector \w+ is not found", re.IGNORECASE)
"""In the message of a request that is refused because the collection has other vectors."""
INDEX_TYPES = {"keyword": "keyword", "number": "float", "bool": "bool", "date": "datetime"}

TIES = 16
"""How many points are read before and after a page, in case that their scores equal those on the page.

Merged lists give many equal scores (first in one list and second in the other, or the reverse), and Qdrant
returns such points in another order every time. So these points are read too, and all are ordered by score
and id before the page is cut out. If even more scores are equal (a hundred products with one placeholder
image), the whole `depth` is read.
"""


def payload_indexes(schema: Schema) -> dict[str, str]:
    """Return {payload key: Qdrant's type of index} for all indexes of a collection."""
    return dict(INDEXED) | {key: INDEX_TYPES[kind] for key, kind in schema.filters.items()}


def refused(message: str) -> SetupError:
    """Return the exception for a request that Qdrant refused with this message."""
    if OTHER_VECTORS.search(message):  # the model is the same, or the request would not have been sent
        return CollectionMismatch(
            f"The collection in Qdrant is not the one that clip_search created: {message.strip()}. {REMEDY}"
        )
    if "index" in message.lower():  # of a filter that was added or changed later
        remedy = "Run `manage.py clip_reindex`, and `clip_rebuild` if a filter changed its type."
        return SetupError(f"Qdrant refused the request: {message.strip()}. {remedy}")
    return RequestRefused(f"Qdrant refused the request: {message.strip()}. Run `manage.py check`.")


class QdrantStore(Store):
    """A store that uses Qdrant. Each subclass implements the abstract methods for one engine."""

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """The classes of the engine for points and filters."""

    @abstractmethod
    def _retrieve(self, collection: str, ids: list[uuid.UUID], vectors: bool) -> Iterable[Any]:
        """Return the records of those ids that are stored."""

    @abstractmethod
    def _page(self, collection: str, start: uuid.UUID | None, limit: int) -> Iterable[Any]:
        """Return up to `limit` records in the order of their ids, from the id `start` on."""

    @abstractmethod
    def _update(self, collection: str, operations: list[Any]) -> None:
        """Apply these operations, which `dialect` created, one after the other."""

    @abstractmethod
    def _find(self, collection: str, query: Query, where: Any, offset: int, limit: int) -> Iterable[Any]:
        """Return up to `limit` scored points that the query finds, best first, without the first `offset`."""

    @abstractmethod
    def _facet(self, collection: str, key: str, where: Any, limit: int) -> Iterable[Any]:
        """Return the facet counts: objects with `value` and `count`."""

    @abstractmethod
    def _count(self, collection: str, where: Any) -> int:
        """Return the number of points that meet the filter `where`."""

    def get(
        self, collection: str, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Point]:
        return by_id(self._retrieve(collection, list(ids), vectors))

    def put(self, collection: str, points: Sequence[Point]) -> None:
        self._write(collection, points, or_equal=False)

    def drop(self, collection: str, points: Sequence[Point]) -> None:
        self._write(collection, [tombstone(point) for point in points], or_equal=True)

    def _write(self, collection: str, points: Sequence[Point], *, or_equal: bool) -> None:
        # One operation for each revision, because the filter of the operation depends on the revision.
        by_revision: dict[int, list[Any]] = {}
        for point in points:
            by_revision.setdefault(point.stamp.revision, []).append(self._record(point))
        if by_revision:
            operations = [
                self.dialect.upsert(records, older(self.dialect, revision, or_equal=or_equal))
                for revision, records in sorted(by_revision.items())
            ]
            self._update(collection, operations)

    def _record(self, point: Point) -> Any:
        return self.dialect.point(
            id=point.id,
            vector={name: vector.tolist() for name, vector in point.vectors.items()},
            payload={**point.payload, CLIP: point.stamp.as_payload()},
        )

    def purge(self, collection: str, ids: Sequence[uuid.UUID]) -> None:
        self._update(collection, [self.dialect.delete(tombstones(self.dialect, ids))])

    def scroll(self, collection: str, *, after: uuid.UUID | None = None, limit: int = 1000) -> list[Point]:
        start = uuid.UUID(int=after.int + 1) if after else None
        return [_point(record) for record in self._page(collection, start, limit)]

    def query(self, collection: str, query: Query) -> list[ScoredPoint]:
        # tombstones have no vectors, so only a query without retrievers would find them
        where = matching(self.dialect, query.conditions, exclude=query.exclude, alive=not query.retrievers)
        first, end = max(0, query.offset - TIES), query.offset + query.limit
        hits = self._ranked(collection, query, where, first, end + TIES)
        if _tied(hits, query, first):
            first = 0
            hits = self._ranked(collection, query, where, first, max(end, query.depth))
        return [_scored(hit, query) for hit in hits[query.offset - first :][: query.limit]]

    def _ranked(self, collection: str, query: Query, where: Any, start: int, end: int) -> list[Any]:
        """Return the scored points from rank `start` to `end`. Points with equal scores are ordered by id."""
        hits = self._find(collection, query, where, start, end - start)
        return sorted(hits, key=lambda hit: (-hit.score if query.retrievers else 0, str(hit.id)))

    def facet(
        self,
        collection: str,
        key: str,
        *,
        conditions: Sequence[Condition] = (),
        exclude: Sequence[uuid.UUID] = (),
        limit: int = 100,
    ) -> dict[str, int]:
        # tombstones have no payload values, so they are not counted
        hits = self._facet(collection, key, matching(self.dialect, conditions, exclude=exclude), limit)
        counts = {str(hit.value): int(hit.count) for hit in hits}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        return self._count(collection, matching(self.dialect, conditions, alive=True))


def _tied(hits: Sequence[Any], query: Query, first: int) -> bool:
    """Return whether points that were not read may have the same score as the first or last on the page."""
    page = hits[query.offset - first :][: query.limit]
    if not page or not query.retrievers:
        return False
    asked = query.offset - first + query.limit + TIES
    at_the_start = first > 0 and hits[0].score == page[0].score
    at_the_end = len(hits) == asked and hits[-1].score == page[-1].score
    return at_the_start or at_the_end


def _read(payload: dict[str, Any] | None) -> tuple[Stamp, dict[str, Any]]:
    rest = dict(payload or {})
    try:
        return Stamp.from_payload(rest.pop(CLIP)), rest
    except (KeyError, TypeError, AttributeError) as error:
        raise CollectionMismatch(f"A point in Qdrant was not written by clip_search. {REMEDY}") from error


def by_id(records: Iterable[Any]) -> dict[uuid.UUID, Point]:
    """Return the points of these records by their ids.

    A record whose payload another program has overwritten counts as missing, so that a rebuild replaces it.
    """
    points = (_point(record) for record in records if CLIP in (record.payload or {}))
    return {point.id: point for point in points}


def _point(record: Any) -> Point:
    import numpy as np

    stamp, payload = _read(record.payload)
    vectors = {name: np.asarray(vector, dtype=np.float32) for name, vector in (record.vector or {}).items()}
    return Point(id=uuid.UUID(str(record.id)), stamp=stamp, payload=payload, vectors=vectors)


def _scored(hit: Any, query: Query) -> ScoredPoint:
    stamp, payload = _read(hit.payload)
    score = float(hit.score) if query.retrievers else 1.0
    return ScoredPoint(id=uuid.UUID(str(hit.id)), score=score, stamp=stamp, payload=payload)
