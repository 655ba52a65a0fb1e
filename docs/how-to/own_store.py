"""A store in a dict: the example of docs/how-to/own-store.rst. It passes tests/unit/store_contract/."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from clip_search.exceptions import CollectionMismatch, CollectionMissing
from clip_search.stores.base import CLIP, RRF_K, Condition, Query, Schema, ScoredPoint, Store, tombstone
from clip_search.types import Point


class DictStore(Store):
    """Keeps everything in this process, and compares with every point."""

    def __init__(self, **options: Any) -> None:
        self.collections: dict[str, tuple[Schema, dict[uuid.UUID, Point]]] = {}

    # Collections.

    def create(self, collection: str, schema: Schema) -> None:
        self.collections.setdefault(collection, (schema, {}))

    def exists(self, collection: str) -> bool:
        return collection in self.collections

    def names(self) -> list[str]:
        return list(self.collections)

    def mark(self, collection: str) -> dict[str, str]:
        self.points(collection)
        return dict(self.collections[collection][0].mark)

    def destroy(self, collection: str) -> None:
        self.collections.pop(collection, None)

    def points(self, collection: str) -> dict[uuid.UUID, Point]:
        if collection not in self.collections:
            raise CollectionMissing
        return self.collections[collection][1]

    # Points.

    def get(
        self, collection: str, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Point]:
        points = self.points(collection)
        return {key: points[key] if vectors else without_vectors(points[key]) for key in ids if key in points}

    def put(self, collection: str, points: Sequence[Point]) -> None:
        there = self.points(collection)
        dimension = self.collections[collection][0].dimension
        for point in points:
            if any(vector.shape[-1] != dimension for vector in point.vectors.values()):
                raise CollectionMismatch(f"The collection has vectors of dimension {dimension}.")
            if point.id not in there or there[point.id].stamp.revision < point.stamp.revision:  # the fence
                there[point.id] = point

    def drop(self, collection: str, points: Sequence[Point]) -> None:
        there = self.points(collection)
        for point in points:
            if point.id not in there or there[point.id].stamp.revision <= point.stamp.revision:
                there[point.id] = tombstone(point)

    def purge(self, collection: str, ids: Sequence[uuid.UUID]) -> None:
        points = self.points(collection)
        for key in ids:
            if key in points and points[key].stamp.removed:
                del points[key]

    def scroll(self, collection: str, *, after: uuid.UUID | None = None, limit: int = 1000) -> list[Point]:
        ids = sorted(key for key in self.points(collection) if after is None or key > after)
        return list(self.get(collection, ids[:limit]).values())

    # Searching: tombstones are never found.

    def query(self, collection: str, query: Query) -> list[ScoredPoint]:
        found = {p.id: p for p in self.matching(collection, query.conditions) if p.id not in query.exclude}
        dimension = self.collections[collection][0].dimension
        lists = []
        for retriever in query.retrievers:
            if len(retriever.vector) != dimension:
                raise CollectionMismatch(f"The collection has vectors of dimension {dimension}.")
            cosines = {
                point.id: cosine(point.vectors[retriever.using], retriever.vector)
                for point in found.values()
                if retriever.using in point.vectors
            }
            lowest = -2.0 if query.min_score is None else query.min_score
            lists.append({key: score for key, score in cosines.items() if score >= lowest})
        scores = dict.fromkeys(found, 1.0) if not lists else lists[0]
        if len(lists) > 1:  # weighted reciprocal rank fusion
            fused: Counter[uuid.UUID] = Counter()
            for retriever, cosines in zip(query.retrievers, lists, strict=True):
                for rank, key in enumerate(by_score(cosines)[: query.depth]):
                    fused[key] += 1 / (RRF_K - 1 + (rank + 1) / retriever.weight)
            scores = dict(fused)
        page = by_score(scores)[query.offset : query.offset + query.limit]
        return [
            ScoredPoint(id=key, score=scores[key], stamp=found[key].stamp, payload=payload(found[key]))
            for key in page
        ]

    def facet(
        self,
        collection: str,
        key: str,
        *,
        conditions: Sequence[Condition] = (),
        exclude: Sequence[uuid.UUID] = (),
        limit: int = 100,
    ) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for point in self.matching(collection, conditions):
            if point.id not in exclude:
                counts.update(values(point, key))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])

    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        return len(self.matching(collection, conditions))

    def matching(self, collection: str, conditions: Sequence[Condition]) -> list[Point]:
        points = self.points(collection).values()
        return [p for p in points if not p.stamp.removed and all(meets(p, each) for each in conditions)]


def without_vectors(point: Point) -> Point:
    return Point(id=point.id, stamp=point.stamp, payload=payload(point))


def payload(point: Point) -> dict[str, Any]:
    return {key: value for key, value in point.payload.items() if key != CLIP}


def cosine(vectors: np.ndarray, wanted: np.ndarray) -> float:
    """Return the cosine; of several images, that of the nearest."""
    return float((vectors @ wanted).max() / np.linalg.norm(wanted))


def by_score(scores: dict[uuid.UUID, float]) -> list[uuid.UUID]:
    """Return the ids, best first; equal scores in the order of ids, so that pages neither repeat nor skip."""
    return sorted(scores, key=lambda key: (-scores[key], key))


def values(point: Point, key: str) -> list[Any]:
    value = (dict(point.payload) | {f"{CLIP}.exact": list(point.stamp.exact)}).get(key)
    return [item for item in (value if isinstance(value, list) else [value]) if item is not None]


def meets(point: Point, condition: Condition) -> bool:
    """Return whether a point meets a condition. If it has several values, one that does is enough."""
    found, wanted, operator = values(point, condition.key), condition.value, condition.operator
    if operator == "all":
        is_met = all(meets(point, each) for each in wanted)
    elif operator == "has_vector":
        is_met = condition.key in point.vectors
    elif operator == "isnull":
        is_met = (not found) == wanted
    elif operator == "in":
        is_met = any(meets(point, replace(condition, operator="eq", value=v, negated=False)) for v in wanted)
    else:
        if isinstance(wanted, datetime) or (isinstance(wanted, str) and operator != "eq"):  # dates
            found, wanted = [instant(value) for value in found], instant(wanted)
        compare = {"eq": "__eq__", "gt": "__gt__", "gte": "__ge__", "lt": "__lt__", "lte": "__le__"}[operator]
        is_met = any(getattr(value, compare)(wanted) is True for value in map(plain, found))
    return is_met != condition.negated


def plain(value: Any) -> Any:
    """Return integers as floats, so that 5 equals 5.0."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def instant(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
