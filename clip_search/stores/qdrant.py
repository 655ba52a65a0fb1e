"""`QdrantStore`: the common base class of the server store and the embedded store."""

from __future__ import annotations

import re
import uuid
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..exceptions import CollectionMismatch, RequestRefused, SetupError
from ..types import IMAGE, TEXT, WORDS, Point, Stamp
from .base import (
    CLIP,
    INDEXED,
    REMEDY,
    TERMS,
    Condition,
    Query,
    Rank,
    Schema,
    ScoredPoint,
    Store,
    term_number,
    tombstone,
)
from .filters import Dialect, matching, older, tombstones

OTHER_VECTORS = re.compile(r"dimension|vector name|vector \w+ is not found", re.IGNORECASE)
"""In the message of a request that is refused because the collection has other vectors."""
WITHOUT_WORDS = re.compile(rf"vector (?:name\W.*)?{WORDS}\b", re.IGNORECASE)
"""In the message of a request that is refused because an earlier version has created the collection."""
FOREIGN_POINT = f"A point in Qdrant was not written by clip_search. {REMEDY}"
INDEX_TYPES = {"keyword": "keyword", "number": "float", "bool": "bool", "date": "datetime"}

VECTORS_READ = [TEXT, IMAGE]
VALUES_A_PAGE = 1000
"""How many points `values()` reads at once."""


def payload_indexes(schema: Schema) -> dict[str, str]:
    """Return {payload key: Qdrant's type of index} for all indexes of a collection."""
    return dict(INDEXED) | {key: INDEX_TYPES[kind] for key, kind in schema.filters.items()}


def refused(message: str) -> SetupError:
    """Return the exception for a request that Qdrant refused with this message."""
    if WITHOUT_WORDS.search(message):
        return SetupError(
            "The collection in Qdrant has no words yet. If an earlier version created it, run "
            f"`manage.py clip_reindex`. Otherwise another program did. {REMEDY}"
        )
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
        """Return the records of those ids that are stored, without their words."""

    @abstractmethod
    def _page(self, collection: str, start: uuid.UUID | None, limit: int) -> Iterable[Any]:
        """Return up to `limit` records in the order of their ids, from the id `start` on, without words."""

    @abstractmethod
    def _values(
        self, collection: str, keys: list[str], where: Any, start: uuid.UUID | None, limit: int
    ) -> Iterable[Any]:
        """Return such records for points that meet the filter `where`, with these payload keys only."""

    @abstractmethod
    def _update(self, collection: str, operations: list[Any]) -> None:
        """Apply these operations, which `dialect` created, one after the other."""

    @abstractmethod
    def _rank(
        self, collection: str, queries: Sequence[tuple[Query, Any]], payload: bool
    ) -> list[Iterable[Any]]:
        """Return the scored points of each query, best first. Each comes with the filter to apply.

        With `payload`, they have their payloads, without their words.
        """

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
        payload = {key: value for key, value in point.payload.items() if key != TERMS}
        if point.words.terms:
            payload[TERMS] = list(point.words.terms)
        vector: dict[str, Any] = {name: vector.tolist() for name, vector in point.vectors.items()}
        if point.words.weights:
            vector[WORDS] = self._sparse(point.words.weights)
        return self.dialect.point(
            id=point.id, vector=vector, payload={**payload, CLIP: point.stamp.as_payload()}
        )

    def _sparse(self, weights: Mapping[str, float]) -> Any:
        """Return the sparse vector of weighted terms. The weights of terms with the same number are added."""
        numbers: dict[int, float] = {}
        for term, weight in weights.items():
            number = term_number(term)
            numbers[number] = numbers.get(number, 0.0) + float(weight)
        return self.dialect.models.SparseVector(indices=list(numbers), values=list(numbers.values()))

    def purge(self, collection: str, ids: Sequence[uuid.UUID]) -> None:
        self._update(collection, [self.dialect.delete(tombstones(self.dialect, ids))])

    def scroll(self, collection: str, *, after: uuid.UUID | None = None, limit: int = 1000) -> list[Point]:
        start = _next_id(after) if after else None
        return [_point(record, record.payload) for record in self._page(collection, start, limit)]

    def rank(self, collection: str, queries: Sequence[Query]) -> list[list[Rank]]:
        return [[rank for rank, _ in found] for found in self._ranked(collection, queries, payload=False)]

    def query(self, collection: str, query: Query) -> list[ScoredPoint]:
        (found,) = self._ranked(collection, [query], payload=True)
        return [_scored(rank, hit) for rank, hit in found]

    def _ranked(
        self, collection: str, queries: Sequence[Query], *, payload: bool
    ) -> list[list[tuple[Rank, Any]]]:
        """Return what each query ranks, with the engine's scored points."""
        if not queries:
            return []
        # tombstones have no vectors, so only a query without a retriever would find them
        asked = [
            (query, matching(self.dialect, query.conditions, alive=not query.retriever)) for query in queries
        ]
        rankings = []
        for query, hits in zip(queries, self._rank(collection, asked, payload), strict=True):
            ranking = [(Rank(_id(hit), float(hit.score) if query.retriever else 1.0), hit) for hit in hits]
            rankings.append(sorted(ranking, key=lambda pair: (-pair[0].score, pair[0].id.int)))
        return rankings

    def values(
        self, collection: str, keys: Sequence[str], *, conditions: Sequence[Condition] = ()
    ) -> list[tuple[uuid.UUID, Mapping[str, Any]]]:
        where = matching(self.dialect, conditions, alive=True)
        found: list[tuple[uuid.UUID, Mapping[str, Any]]] = []
        start: uuid.UUID | None = None
        while True:
            page = list(self._values(collection, list(keys), where, start, VALUES_A_PAGE))
            found += [(_id(record), record.payload or {}) for record in page]
            if len(page) < VALUES_A_PAGE:
                return found
            start = _next_id(found[-1][0])

    def facet(
        self,
        collection: str,
        key: str,
        *,
        conditions: Sequence[Condition] = (),
        limit: int = 100,
    ) -> dict[Any, int]:
        # tombstones have no payload values, so they are not counted
        hits = self._facet(collection, key, matching(self.dialect, conditions), limit)
        counts = {hit.value: int(hit.count) for hit in hits}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))))

    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        return self._count(collection, matching(self.dialect, conditions, alive=True))


def _next_id(point_id: uuid.UUID) -> uuid.UUID:
    """Return the id after this one."""
    return uuid.UUID(int=point_id.int + 1)


def _id(record: Any) -> uuid.UUID:
    found = record.id  # the embedded engine makes a new object at each access
    if isinstance(found, uuid.UUID):
        return found
    try:
        return uuid.UUID(str(found))
    except ValueError as error:  # a number
        raise CollectionMismatch(FOREIGN_POINT) from error


def _read(payload: dict[str, Any] | None) -> tuple[Stamp, dict[str, Any]]:
    rest = dict(payload or {})
    try:
        return Stamp.from_payload(rest.pop(CLIP)), rest
    except (KeyError, TypeError, AttributeError) as error:
        raise CollectionMismatch(FOREIGN_POINT) from error


def by_id(records: Iterable[Any]) -> dict[uuid.UUID, Point]:
    """Return the points of these records by their ids.

    A record whose payload another program has overwritten counts as missing, so that a rebuild replaces it.
    """
    # the embedded engine makes a new dict at each access
    read = ((record, payload) for record in records if CLIP in (payload := record.payload or {}))
    return {point.id: point for point in (_point(record, payload) for record, payload in read)}


def _point(record: Any, stored: dict[str, Any] | None) -> Point:
    stamp, payload = _read(stored)
    vectors = record.vector or {}
    if vectors:
        import numpy as np

        vectors = {name: np.asarray(vector, dtype=np.float32) for name, vector in vectors.items()}
    return Point(id=_id(record), stamp=stamp, payload=payload, vectors=vectors)


def _scored(rank: Rank, hit: Any) -> ScoredPoint:
    stamp, payload = _read(hit.payload)
    return ScoredPoint(id=rank.id, score=rank.score, stamp=stamp, payload=payload)
