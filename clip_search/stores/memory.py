"""A store in this process's memory, for tests: it keeps every promise of `Store` and truly ranks."""

from __future__ import annotations

import json
import operator
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..exceptions import CollectionMissing, ModelChanged, SetupError
from ..types import Point
from .base import CLIP, RRF_K, Condition, Found, Leg, Query, Schema, Store, tombstone
from .filters import instant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(slots=True)
class _Collection:
    schema: Schema
    points: dict[uuid.UUID, Point] = field(default_factory=dict)


class MemoryStore(Store):
    """Collections in a dict. `options` only tell one store from another in the settings."""

    shared: ClassVar[bool] = False

    def __init__(self, **options: Any) -> None:
        self._collections: dict[str, _Collection] = {}
        self._lock = threading.RLock()

    def create(self, collection: str, schema: Schema) -> None:
        with self._lock:
            there = self._collections.setdefault(collection, _Collection(schema))
            there.schema = replace(there.schema, filters={**schema.filters, **there.schema.filters})

    def exists(self, collection: str) -> bool:
        return collection in self._collections

    def destroy(self, collection: str) -> None:
        with self._lock:
            self._collections.pop(collection, None)

    def _of(self, collection: str) -> _Collection:
        try:
            return self._collections[collection]
        except KeyError as error:
            raise CollectionMissing from error

    def get(
        self, collection: str, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Point]:
        with self._lock:
            points = self._of(collection).points
            found = {id_: points[id_] for id_ in ids if id_ in points}
        return found if vectors else {id_: replace(point, vectors={}) for id_, point in found.items()}

    def put(self, collection: str, points: Sequence[Point]) -> None:
        with self._lock:
            there = self._of(collection)
            stored = [_stored(point, there.schema) for point in points]
            for point in stored:
                old = there.points.get(point.id)
                if old is None or old.stamp.revision < point.stamp.revision:
                    there.points[point.id] = point

    def drop(self, collection: str, points: Sequence[Point]) -> None:
        with self._lock:
            there = self._of(collection).points
            for point in points:
                old = there.get(point.id)
                if old is None or old.stamp.revision <= point.stamp.revision:
                    there[point.id] = tombstone(point)

    def purge(self, collection: str, ids: Sequence[uuid.UUID]) -> None:
        with self._lock:
            there = self._of(collection).points
            for id_ in ids:
                if id_ in there and there[id_].stamp.removed:
                    del there[id_]

    def scroll(self, collection: str, *, after: uuid.UUID | None = None, limit: int = 1000) -> list[Point]:
        with self._lock:
            points = self._of(collection).points
            ids = sorted(id_ for id_ in points if after is None or id_ > after)[:limit]
            return [replace(points[id_], vectors={}) for id_ in ids]

    def _alive(self, collection: str, conditions: Sequence[Condition]) -> list[Point]:
        """Return the points that meet the conditions, tombstones left out, in the order of ids."""
        with self._lock:
            points = sorted(self._of(collection).points.values(), key=lambda point: point.id)
        return [
            point
            for point in points
            if not point.stamp.removed and all(_meets(point, condition) for condition in conditions)
        ]

    def query(self, collection: str, query: Query) -> list[Found]:
        without = set(query.without)
        points = [point for point in self._alive(collection, query.conditions) if point.id not in without]
        page = slice(query.offset, query.offset + query.limit)
        by_id = {point.id: point for point in points}
        return [_found(by_id[id_], score) for id_, score in self._ranked(points, query)[page]]

    def _ranked(self, points: Sequence[Point], query: Query) -> list[tuple[uuid.UUID, float]]:
        if not query.legs:
            return [(point.id, 1.0) for point in points]
        lists = [_near(points, leg, query.min_score) for leg in query.legs]
        if len(lists) == 1:
            return lists[0]
        return _fused([ranked[: query.depth] for ranked in lists], [leg.weight for leg in query.legs])

    def facet(
        self,
        collection: str,
        key: str,
        *,
        conditions: Sequence[Condition] = (),
        without: Sequence[uuid.UUID] = (),
        limit: int = 100,
    ) -> dict[str, int]:
        if self._of(collection).schema.filters.get(key) != "keyword":
            raise SetupError(
                f"The collection has no index of the keyword {key!r}. Run `manage.py clip_reindex`."
            )
        points = [point for point in self._alive(collection, conditions) if point.id not in set(without)]
        counts = Counter(str(value) for point in points for value in set(_values(point, key)))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])

    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        return len(self._alive(collection, conditions))


def _stored(point: Point, schema: Schema) -> Point:
    """Return the point as a store keeps it: unit vectors, and a payload that went through JSON."""
    vectors = {name: _unit(vector, schema.dimension) for name, vector in point.vectors.items()}
    return replace(point, vectors=vectors, payload=json.loads(json.dumps(dict(point.payload))))


def _unit(vector: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    import numpy as np

    if vector.shape[-1] != dimension:
        raise ModelChanged(
            f"The collection is for {dimension} dimensions, the vector has {vector.shape[-1]}."
        )
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(vector, length, where=length > 0, out=np.zeros_like(vector))
    return unit


def _near(points: Iterable[Point], leg: Leg, min_score: float | None) -> list[tuple[uuid.UUID, float]]:
    """Return (id, cosine) of the points that have the vector, best first; of several images the best."""
    have = [point for point in points if leg.using in point.vectors]
    if not have:
        return []
    query = _unit(leg.vector, have[0].vectors[leg.using].shape[-1])
    scored = [(point.id, float((point.vectors[leg.using] @ query).max())) for point in have]
    enough = [(id_, score) for id_, score in scored if min_score is None or score >= min_score]
    return sorted(enough, key=lambda item: (-item[1], item[0]))


def _fused(
    lists: Sequence[Sequence[tuple[uuid.UUID, float]]], weights: Sequence[float]
) -> list[tuple[uuid.UUID, float]]:
    scores: dict[uuid.UUID, float] = defaultdict(float)
    for ranked, weight in zip(lists, weights, strict=True):
        for rank, (id_, _) in enumerate(ranked):
            share = 1 / (RRF_K - 1 + (rank + 1) / weight) if weight > 0 else 0.0
            scores[id_] += share
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def _found(point: Point, score: float) -> Found:
    return Found(id=point.id, score=score, stamp=point.stamp, payload=point.payload)


def _values(point: Point, key: str) -> list[Any]:
    """Return the values at a dotted key of the payload, none where it is missing or null."""
    value: Any = {**point.payload, CLIP: point.stamp.as_payload()}
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    values = value if isinstance(value, list) else [value]
    return [item for item in values if item is not None]


def _meets(point: Point, condition: Condition) -> bool:
    if condition.operator == "has_vector":
        return (condition.key in point.vectors) != condition.negated
    values = _values(point, condition.key)
    if condition.operator == "isnull":
        return (not values) == (bool(condition.value) != condition.negated)
    return any(_holds(value, condition) for value in values) != condition.negated


def _holds(value: Any, condition: Condition) -> bool:
    if condition.operator == "in":
        return any(_compares(value, "eq", wanted) for wanted in condition.value)
    return _compares(value, condition.operator, condition.value)


def _compares(value: Any, how: str, wanted: Any) -> bool:
    if isinstance(wanted, bool) != isinstance(value, bool):
        return False
    if how == "eq" and isinstance(wanted, bool | str):
        return bool(value == wanted)
    if isinstance(wanted, int | float):
        return isinstance(value, int | float) and COMPARISONS[how](value, wanted)
    return isinstance(value, str) and COMPARISONS[how](instant(value), instant(wanted))
