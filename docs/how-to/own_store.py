"""A store in a dict: the example of docs/how-to/own-store.rst. It passes tests/unit/store_contract/."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from clip_search.exceptions import CollectionMismatch, CollectionMissing
from clip_search.stores.base import (
    CLIP,
    TERMS,
    Condition,
    Query,
    Rank,
    Retriever,
    Schema,
    ScoredPoint,
    Store,
    tombstone,
)
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
        return {key: as_read(points[key], vectors) for key in ids if key in points}

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

    def rank(self, collection: str, queries: Sequence[Query]) -> list[list[Rank]]:
        rankings = []
        for query in queries:
            points = self.matching(collection, query.conditions)
            scores = dict.fromkeys((point.id for point in points), 1.0)
            if query.retriever:
                scores = self.scores(collection, points, query.retriever)
            lowest = -math.inf if query.min_score is None else query.min_score
            ranking = [Rank(key, score) for key, score in scores.items() if score >= lowest]
            ranking.sort(key=lambda rank: (-rank.score, rank.id))  # so that pages neither repeat nor skip
            rankings.append(ranking[query.offset : query.offset + query.limit])
        return rankings

    def scores(
        self, collection: str, points: Sequence[Point], retriever: Retriever
    ) -> dict[uuid.UUID, float]:
        wanted = retriever.vector
        if isinstance(wanted, Mapping):
            rarity = rarities(self.points(collection))
            both = {point.id: point.words.weights.keys() & wanted.keys() for point in points}
            return {
                p.id: sum(wanted[term] * p.words.weights[term] * rarity[term] for term in both[p.id])
                for p in points
                if both[p.id]
            }
        dimension = self.collections[collection][0].dimension
        if len(wanted) != dimension:
            raise CollectionMismatch(f"The collection has vectors of dimension {dimension}.")
        using = retriever.using
        return {p.id: cosine(p.vectors[using], wanted) for p in points if using in p.vectors}

    def query(self, collection: str, query: Query) -> list[ScoredPoint]:
        (ranking,), points = self.rank(collection, [query]), self.points(collection)
        return [
            ScoredPoint(
                id=rank.id, score=rank.score, stamp=points[rank.id].stamp, payload=payload(points[rank.id])
            )
            for rank in ranking
        ]

    def values(
        self, collection: str, keys: Sequence[str], *, conditions: Sequence[Condition] = ()
    ) -> list[tuple[uuid.UUID, Mapping[str, Any]]]:
        points = sorted(self.matching(collection, conditions), key=lambda point: point.id)
        return [(p.id, {key: p.payload[key] for key in keys if key in p.payload}) for p in points]

    def facet(
        self, collection: str, key: str, *, conditions: Sequence[Condition] = (), limit: int = 100
    ) -> dict[Any, int]:
        counts: Counter[Any] = Counter()
        for point in self.matching(collection, conditions):
            counts.update(values_of(point, key))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:limit])

    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        return len(self.matching(collection, conditions))

    def matching(self, collection: str, conditions: Sequence[Condition]) -> list[Point]:
        points = self.points(collection).values()
        return [p for p in points if not p.stamp.removed and all(meets(p, each) for each in conditions)]


def as_read(point: Point, vectors: bool) -> Point:
    """Return a point without its words and, unless they are wanted, without its vectors."""
    return Point(
        id=point.id, stamp=point.stamp, payload=payload(point), vectors=point.vectors if vectors else {}
    )


def payload(point: Point) -> dict[str, Any]:
    return {key: value for key, value in point.payload.items() if key not in (CLIP, TERMS)}


def rarities(points: Mapping[uuid.UUID, Point]) -> dict[str, float]:
    """Return the inverse document frequency of each word: the rarer a word, the more it says."""
    counts = Counter(term for point in points.values() for term in point.words.weights)
    size = sum(bool(point.words.weights) for point in points.values())
    return {term: math.log((size - count + 0.5) / (count + 0.5) + 1) for term, count in counts.items()}


def cosine(vectors: np.ndarray, wanted: np.ndarray) -> float:
    """Return the cosine; of several images, that of the nearest."""
    return float((vectors @ wanted).max() / np.linalg.norm(wanted))


def values_of(point: Point, key: str) -> list[Any]:
    own = {f"{CLIP}.exact": list(point.stamp.exact), TERMS: list(point.words.terms)}
    value = (dict(point.payload) | own).get(key)
    return [item for item in (value if isinstance(value, list) else [value]) if item is not None]


def meets(point: Point, condition: Condition) -> bool:
    """Return whether a point meets a condition. If it has several values, one that does is enough."""
    found, wanted, operator = values_of(point, condition.key), condition.value, condition.operator
    if operator == "all":
        is_met = all(meets(point, each) for each in wanted)
    elif operator == "any":
        is_met = any(meets(point, each) for each in wanted)
    elif operator == "id":
        is_met = point.id in wanted
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
