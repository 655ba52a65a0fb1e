"""The interface of a store, and the values that are passed to it."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..types import Point, Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLIP = "_clip"
"""The reserved key of a payload that holds the point's `Stamp`."""

RRF_K = 2
"""The constant k of reciprocal rank fusion: a point's score is the sum of 1 / (k + rank) over the lists.

Cormack, Clarke & Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
methods" (SIGIR 2009) use 60. But a product without an image is in one list only, and with 60 it comes after
every product that is in both: tests/benchmarks/relevance.py measures its recall@10 as 0. With 2, Qdrant's
default, it is 1.0, and the others are found as well. Ranks count from 0, as in Qdrant; a retriever of weight
w adds 1 / (k - 1 + (rank + 1) / w).
"""

Kind = Literal["keyword", "number", "bool", "date"]
Operator = Literal["eq", "in", "gt", "gte", "lt", "lte", "isnull", "has_vector", "range", "all", "any"]

INDEXED: Mapping[str, Literal["keyword", "integer", "bool"]] = {
    f"{CLIP}.revision": "integer",
    f"{CLIP}.exact": "keyword",
    f"{CLIP}.invalid": "keyword",
    f"{CLIP}.source": "keyword",
    f"{CLIP}.without_row": "bool",
    f"{CLIP}.removed": "bool",
}
"""Payload indexes that every collection has, beside those of its filter fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a collection is created with."""

    dimension: int
    multiple_images: bool = False
    filters: Mapping[str, Kind] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    mark: Mapping[str, str] = field(default_factory=dict)
    """Who makes it, and when. A collection that exists keeps the mark that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on a payload key; conditions are joined by AND. A list value matches if any item does.

    Strings, booleans and numbers are compared as such. Dates are ISO strings or datetimes, in UTC if they
    have no time zone, with gt, gte, lt and lte; eq and in need a datetime, because a string is a keyword.
    `isnull` is true for a value that is missing, null or an empty list. A missing value meets no other
    operator, and so meets each of them negated. `has_vector` is true for a point that has the vector `key`.
    `all` takes a list of conditions as its value.
    """

    key: str
    operator: Operator
    value: Any
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever:
    """One vector to search near: `using` names the vector of the points ("text" or "image")."""

    using: str
    vector: NDArray[np.float32]
    """float32 (dimension,)."""
    weight: float = 1.0
    """From 0 to 1: see `RRF_K`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search. One retriever: ordered by cosine. Several: fused by rank in the engine (weighted RRF).

    Without a retriever, it finds every point that meets the conditions, in the order of ids, with score 1.0.
    `depth` is how many candidates each retriever of a fused query returns: the same for every page, or pages
    would repeat and skip products. `min_score` is the lowest cosine that a retriever accepts. Equal scores
    are ordered by id, so that pages neither repeat nor skip.
    """

    retrievers: Sequence[Retriever] = ()
    conditions: Sequence[Condition] = ()
    exclude: Sequence[uuid.UUID] = ()
    offset: int = 0
    limit: int = 10
    depth: int = 1000
    min_score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPoint:
    """A point that a query found."""

    id: uuid.UUID
    score: float
    stamp: Stamp
    payload: Mapping[str, Any]


def tombstone(point: Point) -> Point:
    """Return what a dropped point leaves behind: its identity and revision, found by no search."""
    stamp = point.stamp
    return Point(
        id=point.id,
        stamp=Stamp(product_id=stamp.product_id, revision=stamp.revision, source=stamp.source, removed=True),
    )


class Store(ABC):
    """Points in collections. Every method raises StoreUnavailable, or a subclass of it, if it fails.

    Writes are fenced by the point's revision: a write that is older than the stored point changes nothing. A
    dropped point leaves a tombstone (a stamp with `removed`, without vectors) with its revision, so that a
    writer that stalled cannot bring a deleted product back. Tombstones are returned by `get` and `scroll`,
    but not by queries, facets and counts.

    To bring a store of your own, implement these methods, set `CLIP_SEARCH["QDRANT"]` to `{"backend":
    "dotted.path"}` with the options of its constructor beside it, and run the contract tests of this package
    against it.
    """

    @abstractmethod
    def create(self, collection: str, schema: Schema) -> None:
        """Create a collection with its payload indexes. An existing one gets the indexes that it lacks."""

    @abstractmethod
    def exists(self, collection: str) -> bool:
        """Return whether there is such a collection."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all collections in the store, also of those that others made."""

    @abstractmethod
    def mark(self, collection: str) -> dict[str, str]:
        """Return the mark that a collection was created with, {} if none. Raises CollectionMissing."""

    @abstractmethod
    def destroy(self, collection: str) -> None:
        """Delete a collection and all its points. Nothing happens if there is none."""

    @abstractmethod
    def get(
        self, collection: str, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Point]:
        """Return the points that exist, tombstones included. Raises CollectionMissing."""

    @abstractmethod
    def put(self, collection: str, points: Sequence[Point]) -> None:
        """Write whole points, each only if there is none or its revision is lower.

        Raises CollectionMissing, and ModelChanged if the vectors have another dimension.
        """

    @abstractmethod
    def drop(self, collection: str, points: Sequence[Point]) -> None:
        """Replace each point by a tombstone, only if there is none or its revision is not higher.

        Only the ids and stamps of the points are used. Raises CollectionMissing.
        """

    @abstractmethod
    def purge(self, collection: str, ids: Sequence[uuid.UUID]) -> None:
        """Delete those of the points that are tombstones."""

    @abstractmethod
    def scroll(self, collection: str, *, after: uuid.UUID | None = None, limit: int = 1000) -> list[Point]:
        """Return the points after an id, in the order of ids, tombstones included, without vectors.

        Raises CollectionMissing.
        """

    @abstractmethod
    def query(self, collection: str, query: Query) -> list[ScoredPoint]:
        """Search. Raises CollectionMissing."""

    @abstractmethod
    def facet(
        self,
        collection: str,
        key: str,
        *,
        conditions: Sequence[Condition] = (),
        exclude: Sequence[uuid.UUID] = (),
        limit: int = 100,
    ) -> dict[str, int]:
        """Return the number of points for each value of a keyword, the most frequent first.

        Raises CollectionMissing.
        """

    @abstractmethod
    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        """Return the number of points that meet the conditions, without tombstones.

        Raises CollectionMissing.
        """

    def session(self, collection: str) -> AbstractContextManager[Any]:
        """Return a context manager in which the collection stays open, if opening it costs something."""
        return nullcontext()

    def keep_open(self) -> AbstractContextManager[None]:
        """Return a context manager in which collections stay open until another process wants them.

        For commands and requests that use the store again and again. A process that is paused hands nothing
        over.
        """
        return nullcontext()

    def close(self) -> None:  # noqa: B027, for most stores there is nothing to do
        """Release connections and handles."""
