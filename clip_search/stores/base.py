"""`Store`: the interface of all stores, and the values that its methods accept."""

from __future__ import annotations

import hashlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from ..types import Point, Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLIP = "_clip"
"""The reserved payload key under which a point keeps its `Stamp`."""

TERMS = "_terms"
"""The reserved payload key of the terms of a point's words. Filters test them; they are never read."""

REMEDY = "Run `manage.py clip_rebuild`: it builds a new collection and leaves this one."
"""What to do about a collection that another program has created or written to."""

Kind = Literal["keyword", "number", "bool", "date"]
Operator = Literal["eq", "in", "gt", "gte", "lt", "lte", "isnull", "has_vector", "range", "all", "any", "id"]

INDEXED: Mapping[str, Literal["keyword", "integer", "bool"]] = {
    f"{CLIP}.revision": "integer",
    f"{CLIP}.exact": "keyword",
    f"{CLIP}.invalid": "keyword",
    f"{CLIP}.source": "keyword",
    f"{CLIP}.truncated": "bool",
    f"{CLIP}.without_row": "bool",
    f"{CLIP}.removed": "bool",
    TERMS: "keyword",
}
"""Payload indexes that every collection has, beside those of its filter fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The properties with which a collection is created."""

    dimension: int
    multiple_images: bool = False
    filters: Mapping[str, Kind] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    mark: Mapping[str, str] = field(default_factory=dict)
    """Who creates the collection, and when. An existing collection keeps its mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition on one payload key of a point. A search joins its conditions by AND.

    If the payload value is a list, the condition is met if any item meets it. Dates are given as ISO strings
    or datetimes; without a time zone, they are read as UTC. For `eq` and `in`, a date must be a datetime,
    because a string is compared as a keyword. `isnull` is met by a value that is missing, null or an empty
    list. A missing value meets no other operator, but meets each of them if `negated`. `has_vector` is met by
    a point that has the vector `key`. For `all` and `any`, `value` is a list of conditions; for `range`, it
    is the lowest and the highest value; for `id`, it is a list of the ids of points.
    """

    key: str
    operator: Operator
    value: Any
    negated: bool = False


TERM_NUMBERS_KEPT: Final = 65_536
"""How many terms are kept in memory with their numbers: about 10 MB."""


@lru_cache(TERM_NUMBERS_KEPT)
def term_number(term: str) -> int:
    """Return the dimension of a term in the sparse vectors: 32 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever:
    """What to search near: a vector for "text" or "image", or weighted terms for "words"."""

    using: str
    vector: NDArray[np.float32] | Mapping[str, float]
    """A float32 array of shape (dimension,); for "words", the weight of each term. The score is then the sum
    over the common terms of both weights and of the inverse document frequency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A ranking of the points that meet all conditions.

    They are ordered by cosine or, for words, by score. Points with a score lower than `min_score` are not
    found; nor are points without the vector. Without a retriever, the points are ordered by id, with score
    1.0.
    """

    retriever: Retriever | None = None
    conditions: Sequence[Condition] = ()
    offset: int = 0
    limit: int = 10
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class Rank:
    """The id and the score of a point in a ranking."""

    id: uuid.UUID
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPoint:
    """A point that a query found, with its score."""

    id: uuid.UUID
    score: float
    stamp: Stamp
    payload: Mapping[str, Any]


def tombstone(point: Point) -> Point:
    """Return the tombstone that replaces a dropped point. It keeps the id and revision, without vectors."""
    stamp = point.stamp
    return Point(
        id=point.id,
        stamp=Stamp(product_id=stamp.product_id, revision=stamp.revision, source=stamp.source, removed=True),
    )


class Store(ABC):
    """Keeps points in collections. A method that fails raises StoreUnavailable or a subclass of it.

    The point with the higher revision wins: a write with a lower revision than the stored point changes
    nothing. A dropped point leaves a tombstone, which has a revision but no vectors. So the late write of a
    stalled worker cannot bring a deleted product back. `get` and `scroll` return tombstones; queries, facets
    and counts do not.

    To use a store of your own, implement these methods, set `CLIP_SEARCH["QDRANT"]` to `{"backend":
    "dotted.path"}` together with the options of its constructor, and run the contract tests of this package
    against it.
    """

    is_exclusive: ClassVar[bool] = False
    """Whether only one process can use a collection, at a time or at all. Then the processes of a command use
    the store of their parent process."""

    @abstractmethod
    def create(self, collection: str, schema: Schema) -> None:
        """Create a collection and its payload indexes.

        If it exists, create only the missing indexes and, in a collection of an earlier version, the vector
        "words". Points that are there keep their vectors, and have no words until they are written again.
        """

    @abstractmethod
    def exists(self, collection: str) -> bool:
        """Return whether this collection exists."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all collections in the store, even if another installation created them."""

    @abstractmethod
    def mark(self, collection: str) -> dict[str, str]:
        """Return the mark with which a collection was created, or {}. Raises CollectionMissing."""

    @abstractmethod
    def destroy(self, collection: str) -> None:
        """Delete a collection and all its points. Do nothing if it does not exist."""

    @abstractmethod
    def get(
        self, collection: str, ids: Sequence[uuid.UUID], *, vectors: bool = False
    ) -> dict[uuid.UUID, Point]:
        """Return {id: point} for those of the ids that are stored, tombstones included, without their words.

        Raises CollectionMissing.
        """

    def get_consistent(self, collection: str, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        """Return like `get()`, without vectors, but leave out points whose replicas disagree.

        A store that keeps several replicas of a point overrides this. Raises StoreRefused if not all replicas
        can be read.
        """
        return self.get(collection, ids)

    @abstractmethod
    def put(self, collection: str, points: Sequence[Point]) -> None:
        """Write complete points with their words. A stored point is replaced only if its revision is lower.

        Raises CollectionMissing, or CollectionMismatch if the collection has other vectors.
        """

    @abstractmethod
    def drop(self, collection: str, points: Sequence[Point]) -> None:
        """Write a tombstone for each point. A stored point with a higher revision is not replaced.

        Only the ids and stamps of `points` are used. Raises CollectionMissing.
        """

    @abstractmethod
    def purge(self, collection: str, ids: Sequence[uuid.UUID]) -> None:
        """Delete those of the ids that are tombstones. Other points stay."""

    @abstractmethod
    def scroll(self, collection: str, *, after: uuid.UUID | None = None, limit: int = 1000) -> list[Point]:
        """Return up to `limit` points whose ids come after `after`, in the order of their ids.

        Tombstones are included, vectors are not. Raises CollectionMissing.
        """

    def get_for_search(self, collection: str, point_id: uuid.UUID) -> Point | None:
        """Return a point with its vectors, to search near them, or None. Raises CollectionMissing."""
        return self.get(collection, [point_id], vectors=True).get(point_id)

    @abstractmethod
    def rank(self, collection: str, queries: Sequence[Query]) -> list[list[Rank]]:
        """Return the ranking of each query, best first, in one request. Raises CollectionMissing.

        Points with equal scores are ordered by id. If a ranking is cut at its limit, which of the points with
        the last score are in it is left to chance.
        """

    @abstractmethod
    def query(self, collection: str, query: Query) -> list[ScoredPoint]:
        """Return the points that a query ranks, with their payloads, best first. Raises CollectionMissing."""

    @abstractmethod
    def values(
        self, collection: str, keys: Sequence[str], *, conditions: Sequence[Condition] = ()
    ) -> list[tuple[uuid.UUID, Mapping[str, Any]]]:
        """Return (id, {key: value}) for every point that meets all conditions, ordered by id.

        Keys that a payload does not have are left out; values may be lists. Tombstones are left out. Raises
        CollectionMissing.
        """

    @abstractmethod
    def facet(
        self,
        collection: str,
        key: str,
        *,
        conditions: Sequence[Condition] = (),
        limit: int = 100,
    ) -> dict[Any, int]:
        """Return {value: number of points} for a keyword or bool, the most frequent values first.

        Raises CollectionMissing.
        """

    @abstractmethod
    def count(self, collection: str, *, conditions: Sequence[Condition] = ()) -> int:
        """Return the number of points that meet all conditions. Tombstones are not counted.

        Raises CollectionMissing.
        """

    def counts_exactly(self, collection: str) -> bool:
        """Return whether the last `count()` or `facet()` was exact. A server may refuse exact ones."""
        return True

    def vectors(self, collection: str) -> dict[str, int] | None:
        """Return {name of the vector: dimension} of a collection, or None if this store cannot tell.

        Raises CollectionMissing.
        """
        return None

    def has_foreign_points(self, collection: str) -> bool:
        """Return whether some points were not written by clip_search. Raises CollectionMissing."""
        return False

    def remains(self, older_than: timedelta) -> list[str]:
        """Return the names of collections of which only some files are left, older than `older_than`.

        Killed processes may leave such files. `destroy()` deletes them.
        """
        return []

    def session(self, collection: str) -> AbstractContextManager[Any]:
        """Return a context manager during which the collection stays open.

        A store that need not open collections does nothing.
        """
        return nullcontext()

    def keep_open(self) -> AbstractContextManager[None]:
        """Return a context manager during which collections stay open until another process wants them.

        It is for code that uses the store again and again. While the process is suspended, it cannot close
        them, and other processes wait.
        """
        return nullcontext()

    def close(self) -> None:  # noqa: B027, for most stores there is nothing to do
        """Close all connections and open files."""
