"""The one interface of a store, and the values that cross it."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..types import Point, Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLIP = "_clip"
"""The reserved key of a payload that holds the point's `Stamp`."""

RRF_K = 2
"""How slowly a rank loses weight when lists are fused: a point's score is the sum of 1 / (RRF_K + rank).

Reciprocal rank fusion is Cormack, Clarke & Buettcher, "Reciprocal rank fusion outperforms Condorcet and
individual rank learning methods" (SIGIR 2009), with 60. But a product without an image is in one list
only, and with 60 it comes behind every product that is in both: tests/benchmarks/relevance.py measures
its recall@10 as 0. With 2, Qdrant's own default, it is 1.0, and the rest is found as well.
Ranks count from 0, as in Qdrant; a leg of weight w counts as 1 / (RRF_K - 1 + (rank + 1) / w).
"""

Kind = Literal["keyword", "number", "bool", "date"]
Operator = Literal["eq", "in", "gt", "gte", "lt", "lte", "isnull", "has_vector"]

INDEXED: Mapping[str, Literal["keyword", "integer", "bool"]] = {
    f"{CLIP}.revision": "integer",
    f"{CLIP}.exact": "keyword",
    f"{CLIP}.source": "keyword",
    f"{CLIP}.removed": "bool",
}
"""Payload indexes that every collection has, beside those of its filter fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a collection is created for."""

    dimension: int
    multiple_images: bool = False
    filters: Mapping[str, Kind] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on a payload key; conditions are joined by AND. A list value matches if any item does.

    A string, bool or number is compared as what it is. Dates are ISO strings or datetimes, in UTC where
    they name no zone, with gt, gte, lt and lte; eq and in need a datetime, because a string is a keyword.
    `isnull` is true of what is missing, null or an empty list. What is missing meets no other operator,
    and so meets each of them negated. `has_vector` is true of a point that has the vector `key`.
    """

    key: str
    operator: Operator
    value: Any
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One vector to search near: `using` names the vector of the points ("text" or "image")."""

    using: str
    vector: NDArray[np.float32]
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search. One leg: ordered by cosine. Several: fused by rank in the engine (RRF), weighted.

    No leg: every point that meets the conditions, in the order of ids, with score 1.0.
    `depth` is how many candidates each leg of a fused query brings: the same for every page,
    or pages would repeat and skip products.
    `min_score` is the lowest cosine a point must have in a leg to be found by that leg.
    Equal scores are ordered by id, so that pages neither repeat nor skip.
    """

    legs: Sequence[Leg] = ()
    conditions: Sequence[Condition] = ()
    without: Sequence[uuid.UUID] = ()
    offset: int = 0
    limit: int = 10
    depth: int = 1000
    min_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A point that a query found."""

    id: uuid.UUID
    score: float
    stamp: Stamp
    payload: Mapping[str, Any]


def tombstone(point: Point) -> Point:
    """Return what a dropped point leaves behind: who it was and its revision, findable by nothing."""
    stamp = point.stamp
    return Point(
        id=point.id,
        stamp=Stamp(product_id=stamp.product_id, revision=stamp.revision, source=stamp.source, removed=True),
    )


class Store(ABC):
    """Points in collections. Every method raises StoreUnavailable, or a leaf of it, when it cannot.

    Writes are fenced by the point's revision: what is older than what is there changes nothing.
    A dropped point leaves a tombstone (a stamp with `removed`, without vectors) that carries the
    revision, so that a writer that stalled cannot bring a deleted product back. Tombstones are in
    `get` and `scroll`; they are in no query, facet or count.
    """

    shared: ClassVar[bool] = True
    """Whether several machines can use it."""

    @abstractmethod
    def create(self, collection: str, schema: Schema) -> None:
        """Make a collection with its payload indexes; one that exists gets the indexes it lacks, no more."""

    @abstractmethod
    def exists(self, collection: str) -> bool:
        """Say whether there is such a collection."""

    @abstractmethod
    def destroy(self, collection: str) -> None:
        """Remove a collection and all its points; a missing one is no error."""

    @abstractmethod
    def get(
        self, collection: str, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Point]:
        """Return the points that are there, tombstones included. Raises CollectionMissing."""

    @abstractmethod
    def put(self, collection: str, points: Sequence[Point]) -> None:
        """Write whole points, each only if there is none or its revision is lower.

        Raises CollectionMissing, and ModelChanged where the vectors have another dimension.
        """

    @abstractmethod
    def drop(self, collection: str, points: Sequence[Point]) -> None:
        """Leave a tombstone for each point, only if there is none or its revision is not higher.

        Of each point only the id and the stamp are used. Raises CollectionMissing.
        """

    @abstractmethod
    def purge(self, collection: str, ids: Sequence[uuid.UUID]) -> None:
        """Remove tombstones for good; a point that lives is left alone."""

    @abstractmethod
    def scroll(self, collection: str, *, after: uuid.UUID | None = None, limit: int = 1000) -> list[Point]:
        """Return the next points in the order of ids, tombstones included, without vectors."""

    @abstractmethod
    def query(self, collection: str, query: Query) -> list[Found]:
        """Search. Raises CollectionMissing."""

    @abstractmethod
    def facet(
        self,
        collection: str,
        key: str,
        *,
        conditions: Sequence[Condition] = (),
        without: Sequence[uuid.UUID] = (),
        limit: int = 100,
    ) -> dict[str, int]:
        """Count the points per value of a keyword, most frequent first."""

    @abstractmethod
    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        """Count the points, tombstones left out."""

    def held(self, collection: str) -> AbstractContextManager[None]:
        """Keep the collection open meanwhile, where opening it costs something."""
        return nullcontext()

    def kept(self) -> AbstractContextManager[None]:
        """Keep what is opened meanwhile open until somebody else wants it, where opening costs something.

        For a command that asks again and again: a process that is paused hands nothing over.
        """
        return nullcontext()

    def close(self) -> None:  # noqa: B027, for most stores there is nothing to do
        """Let go of connections and handles."""
