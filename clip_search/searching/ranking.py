"""The ranked list of all results of a query. Only the ranks that are asked for are read from the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final, TypeVar

from ..documents.binding import BoundDocument
from ..exceptions import CollectionMissing
from ..stores import base
from ..stores.base import CLIP, Condition, Retriever, ScoredPoint
from ..types import IMAGE, TEXT
from .live_collection import LiveCollection, as_search_unavailable, get_live_collection
from .queries import ImageQuery, Query, TextQuery
from .retrieval import get_retrievers

DEPTH: Final = 1000
"""How many candidates each vector search (text, image) adds before the lists are merged by rank.

No result has a rank beyond this.

The number is the same for every page. When it grew with the page, paging through 1,000 points by 24 returned
only 555 different products.
"""
EXACT_SCORE: Final = 1.0
"""The score of exact matches. No merged score is higher, so scores do not rise after the exact matches."""

# Negated, so that a point without this key counts as having a row.
HAS_ROW: Final = Condition(key=f"{CLIP}.without_row", operator="eq", value=True, negated=True)

Answer = TypeVar("Answer")


class Ranking:
    """The list of all results of a query: exact matches (name, SKU, …) come first, then similar products.

    Vectors, exact matches and the count are computed once and cached. Posted products that have no row in the
    shop are left out unless `with_posted` is True. Methods that ask the store raise SearchUnavailable; a
    damaged image raises BadImage.
    """

    def __init__(self, document: BoundDocument, query: Query, *, with_posted: bool = False) -> None:
        self.document = document
        self.query = query
        self.is_with_posted = with_posted
        self._conditions = [*query.conditions, *(() if with_posted else [HAS_ROW])]
        self._reset(None)

    def with_query(self, query: Query, *, with_posted: bool | None = None) -> Ranking:
        """Return a ranking that reuses the vectors of this one. `query` may differ only in its conditions."""
        with_posted = self.is_with_posted if with_posted is None else with_posted
        ranking = Ranking(self.document, query, with_posted=with_posted)
        ranking._live, ranking._retrievers = self._live, self._retrievers
        ranking._has_retrievers = self._has_retrievers
        return ranking

    def _reset(self, live: LiveCollection | None) -> None:
        """Use this collection. Empty all caches; ranks that were left out belong to the old collection."""
        self._live = live
        self._retrievers: Sequence[Retriever] | None = None
        self._has_retrievers = False  # needed, because `get_retrievers()` may return None, too
        self._exact: tuple[list[ScoredPoint], int] = ([], 0)
        self._total: int | None = None
        self._left_out: list[int] = []

    def page(self, start: int, end: int) -> list[ScoredPoint]:
        """Return the points at the ranks from `start` to `end` - 1. Points that were left out have no rank.

        From rank DEPTH on, nothing is read from the store.
        """
        first, end = self._store_rank(start), min(self._store_rank(end - 1) + 1, DEPTH)
        found = self._with_retry(lambda: self._page(first, end)) if first < end else []
        return [point for rank, point in enumerate(found, first) if rank not in self._left_out]

    def leave_out(self, ranks: Iterable[int]) -> None:
        """Leave out the points at these ranks from now on, so that later points move up.

        The store is not asked to exclude them: it would then rank all points anew, and a product could move
        from a later page to one that has been shown already.
        """
        self._left_out = sorted({*self._left_out, *map(self._store_rank, ranks)})

    def _store_rank(self, rank: int) -> int:
        """Convert a rank of the results to the rank in the store's list, where no point is left out."""
        for left_out in self._left_out:
            if left_out <= rank:
                rank += 1
        return rank

    def total(self) -> int:
        """Return the number of results, at most DEPTH."""
        if self._total is None:
            self._total = self._with_retry(self._count)
        return max(self._total - len(self._left_out), 0)

    def facet(self, key: str, limit: int) -> dict[str, int]:
        """Return the number of products for each value of a keyword filter.

        `min_score` is ignored, and the CLIP model is not used.
        """
        return self._with_retry(lambda: self._facet(key, limit))

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep the collection open inside the block, for several requests to the store."""
        with as_search_unavailable(), ExitStack() as stack:
            self._with_retry(lambda: stack.enter_context(self._opened()))
            yield

    def _with_retry(self, request: Callable[[], Answer]) -> Answer:
        """Return `request()`. Call it once more if a rebuild has just replaced the collection by another."""
        with as_search_unavailable():
            try:
                return request()
            except CollectionMissing:
                before = self._live
                if before is None:
                    raise
                self._reset(get_live_collection(self.document))
                if self._live is None or self._live.collection == before.collection:
                    raise
            return request()

    @contextmanager
    def _opened(self) -> Iterator[LiveCollection]:
        """Open the live collection inside the block.

        The query is embedded before that: an open embedded collection is locked, and other processes would
        have to wait for the CLIP model.
        """
        live = self._live = self._live or get_live_collection(self.document)
        if self.query.needs_embedding:
            self._get_retrievers(live)
        with live.store.session(live.collection.name):
            yield live

    def _get_retrievers(self, live: LiveCollection) -> Sequence[Retriever] | None:
        """Return the vectors to search near: [] finds everything, None finds nothing. Cached."""
        if not self._has_retrievers:
            self._retrievers = get_retrievers(self.document, live, self.query)
            self._has_retrievers = True
        return self._retrievers

    def _page(self, start: int, end: int) -> list[ScoredPoint]:
        """Return the points at the store's ranks from `start` to `end` - 1."""
        with self._opened() as live:
            retrievers = self._get_retrievers(live)
            if retrievers is None:
                return []
            exact = self._exact_matches(live, end)
            still_wanted = end - max(start, len(exact))
            if still_wanted <= 0:
                return exact[start:end]
            similar = base.Query(
                retrievers=retrievers,
                conditions=self._conditions,
                exclude=[*self.query.exclude, *(point.id for point in exact)],
                offset=max(start - len(exact), 0),
                limit=still_wanted,
                depth=DEPTH,
                min_score=self.query.min_score,
            )
            return exact[start:] + live.store.query(live.collection.name, similar)

    def _exact_matches(self, live: LiveCollection, end: int) -> list[ScoredPoint]:
        """Return the first `end` points whose exact field, such as the SKU, equals the words."""
        found, asked_for = self._exact
        if self.query.exact and asked_for < end and len(found) == asked_for:
            equal = Condition(key=f"{CLIP}.exact", operator="eq", value=self.query.exact)
            query = base.Query(conditions=[*self._conditions, equal], exclude=self.query.exclude, limit=end)
            points = live.store.query(live.collection.name, query)
            found = [replace(point, score=EXACT_SCORE) for point in points]
            self._exact = found, end
        return found[:end]

    def _facet(self, key: str, limit: int) -> dict[str, int]:
        live = self._live = self._live or get_live_collection(self.document)
        with live.store.session(live.collection.name):
            names = self._vectors_used(live)
            if names is None:
                return {}
            conditions = [*self._conditions]
            if len(names) == 1:  # only products with this vector; the key of "has_vector" is a vector's name
                conditions.append(Condition(key=next(iter(names)), operator="has_vector", value=True))
            return live.store.facet(
                live.collection.name, key, conditions=conditions, exclude=self.query.exclude, limit=limit
            )

    def _vectors_used(self, live: LiveCollection) -> set[str] | None:
        """Return the names of the vectors that are searched.

        An empty set means that everything is found; None means that nothing is found.
        """
        if isinstance(self.query, TextQuery):
            return {name for name, weight in self.query.weights.items() if weight and self.query.words}
        if isinstance(self.query, ImageQuery):
            return {IMAGE}
        retrievers = self._get_retrievers(live)
        return None if retrievers is None else {retriever.using for retriever in retrievers}

    def _count(self) -> int:
        """Return the number of points that the query finds, at most DEPTH, those left out included."""
        with self._opened() as live:
            retrievers = self._get_retrievers(live)
            if retrievers is None:
                return 0
            upper_bound = min(live.store.count(live.collection.name, conditions=self._conditions), DEPTH)
            # every product has at least one of the two vectors, but not each product has an image
            names = {retriever.using for retriever in retrievers}
            every_product_is_ranked = not retrievers or names == {TEXT, IMAGE}
            finds_all = every_product_is_ranked and self.query.min_score is None and not self.query.exclude
            if finds_all or not upper_bound or self._page(upper_bound - 1, upper_bound):
                return upper_bound
            return len(self._page(0, upper_bound))
