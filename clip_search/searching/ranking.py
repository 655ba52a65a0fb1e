"""The ranked list of all results of a query. Only the products of the ranks that are asked for are read."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, TypeVar

from ..documents.binding import BoundDocument
from ..exceptions import CollectionMissing
from ..stores import base
from ..stores.base import CLIP, Condition
from ..types import Facet, Stamp
from .facets import facets
from .finding import Found, find, with_ids
from .live_collection import LiveCollection, as_search_unavailable, get_live_collection
from .ordering import OrderKey, ordered
from .parsing import ParsedText
from .placing import Place, Ranked, Search, rank_by_meaning, rank_closest, rank_everything, rank_found
from .queries import Query, TextQuery
from .retrieval import WeightedRetriever, get_retrievers
from .spelling import Reading

# Negated, so that a point without this key counts as having a row.
HAS_ROW: Final = Condition(key=f"{CLIP}.without_row", operator="eq", value=True, negated=True)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPoint:
    """A product that was found, as it is stored."""

    id: uuid.UUID
    stamp: Stamp
    payload: Mapping[str, Any]
    place: Place


class Ranking:
    """The list of all results of a query, best first.

    What a search by words finds is decided once: see `finding`. Filters narrow it. Posted products that have
    no row in the shop are left out unless `with_posted` is True. Methods that ask the store raise
    SearchUnavailable; a damaged image raises BadImage.
    """

    def __init__(
        self,
        document: BoundDocument,
        query: Query,
        *,
        with_posted: bool = False,
        is_closest: bool = False,
        order: Sequence[OrderKey] = (),
    ) -> None:
        self.document = document
        self.query = query
        self.is_with_posted = with_posted
        self._is_closest = is_closest
        self._order = order
        self._base: list[Condition] = [] if with_posted else [HAS_ROW]
        if query.exclude:
            self._base.append(with_ids(query.exclude, negated=True))
        self._reset(None)

    def with_query(
        self,
        query: Query,
        *,
        with_posted: bool | None = None,
        is_closest: bool | None = None,
        order: Sequence[OrderKey] | None = None,
    ) -> Ranking:
        """Return a ranking that reuses the vectors of this one. `query` may differ only in its conditions.

        If `is_closest`, it has the products that are nearest in meaning if nothing is found, otherwise none.
        These are never sorted by `order`.
        """
        with_posted = self.is_with_posted if with_posted is None else with_posted
        is_closest = self._is_closest if is_closest is None else is_closest
        order = self._order if order is None else order
        ranking = Ranking(self.document, query, with_posted=with_posted, is_closest=is_closest, order=order)
        ranking._live, ranking._retrievers = self._live, self._retrievers
        if with_posted == self.is_with_posted:
            ranking._found = self._found
        return ranking

    def _reset(self, live: LiveCollection | None) -> None:
        """Use this collection. Empty all caches; ranks that were left out belong to the old collection."""
        self._live = live
        self._retrievers: Sequence[WeightedRetriever] | None = None
        self._found: Found | None = None
        self._ranked: Ranked | None = None
        self._ordered: list[uuid.UUID] | None = None
        self._left_out: list[int] = []

    # What callers ask for.

    def page(self, start: int, end: int | None) -> list[RankedPoint]:
        """Return the points at the ranks from `start` to `end` - 1, or to the last one.

        Points that were left out have no rank.
        """
        first = self._store_rank(start)
        last = None if end is None else self._store_rank(end - 1) + 1
        found = self._with_retry(lambda: self._page(first, last)) if last is None or first < last else []
        return [point for rank, point in enumerate(found, first) if rank not in self._left_out]

    def leave_out(self, ranks: Iterable[int]) -> None:
        """Leave out the points at these ranks from now on, so that later points move up.

        The store is not asked to exclude them: it would then rank all points anew, and a product could move
        from a later page to one that has been shown already.
        """
        self._left_out = sorted({*self._left_out, *map(self._store_rank, ranks)})

    def _store_rank(self, rank: int) -> int:
        """Convert a rank of the results to the rank in the list where no point is left out."""
        for left_out in self._left_out:
            if left_out <= rank:
                rank += 1
        return rank

    def total(self) -> int:
        """Return the number of results."""
        return max(self._with_retry(lambda: self._rank().total) - len(self._left_out), 0)

    def facets(self, wanted: Mapping[str, Any], limit: int) -> dict[str, Facet]:
        """Return the facets that `parse_facets()` has returned as `wanted`: see `facets.facets()`."""
        return self._with_retry(lambda: self._facets(wanted, limit))

    def reading(self) -> Reading | None:
        """Return how the query was read, or None if the whole shop is ranked."""
        return self._with_retry(self._reading)

    def decision(self) -> tuple[Search, Found | None, Ranked]:
        """Return what decides the ranks, for explanations.

        `Found` is None if the whole shop is ranked.
        """
        return self._with_retry(self._decision)

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

    def _get_retrievers(self, live: LiveCollection) -> Sequence[WeightedRetriever]:
        """Return the vectors to search near, with their weights. Cached."""
        if self._retrievers is None:
            self._retrievers = get_retrievers(self.document, live, self.query)
        return self._retrievers

    # Reading from the store.

    def _page(self, start: int, end: int | None) -> list[RankedPoint]:
        """Return the points at the ranks from `start` to `end` - 1, where none is left out."""
        with self._opened() as live:
            ranked = self._rank()
            end = ranked.total if end is None else min(end, ranked.total)
            ids = self._ids(live, ranked)
            found = self._stored(live, ranked, list(islice(ids, start, end)))
            first = len(ids)
            if end > max(start, first):
                rest = base.Query(
                    conditions=[*ranked.conditions, with_ids(ids, negated=True)],
                    offset=max(start - first, 0),
                    limit=end - max(start, first),
                )
                found += [
                    RankedPoint(id=one.id, stamp=one.stamp, payload=one.payload, place=ranked.others)
                    for one in live.store.query(live.collection.name, rest)
                ]
            return found

    def _ids(self, live: LiveCollection, ranked: Ranked) -> Collection[uuid.UUID]:
        """Return the first ids, best first; if the results are sorted, all ids in this order. Cached."""
        if not self._order or self._is_closest or not ranked.total:
            return ranked.places
        if self._ordered is None:
            self._ordered = ordered(
                self.document,
                live.store,
                live.collection.name,
                self._order,
                conditions=ranked.conditions,
                relevance={key: 1 / rank for rank, key in enumerate(ranked.places, 1)},
            )
        return self._ordered

    def _stored(self, live: LiveCollection, ranked: Ranked, ids: Sequence[uuid.UUID]) -> list[RankedPoint]:
        """Return the points with these ids, in this order. One may have been removed just now."""
        stored = live.store.get(live.collection.name, ids) if ids else {}
        points = [(key, stored[key]) for key in ids if key in stored and not stored[key].stamp.removed]
        return [
            RankedPoint(
                id=key,
                stamp=point.stamp,
                payload=point.payload,
                place=ranked.places.get(key, ranked.others),
            )
            for key, point in points
        ]

    def _facets(self, wanted: Mapping[str, Any], limit: int) -> dict[str, Facet]:
        filters = self.query.conditions
        with self._opened() as live:
            without = self.with_query(replace(self.query, conditions=[])) if filters else self
            ranked = without._rank()
            self._found = without._found
            if not ranked.total:
                return {key: Facet() for key in wanted}
            return facets(
                self.document,
                live.store,
                live.collection.name,
                wanted,
                found=ranked.conditions,
                filters=filters,
                limit=limit,
            )

    def _reading(self) -> Reading | None:
        with self._opened() as live:
            found = self._find(live)
            return None if found is None else found.reading

    def _decision(self) -> tuple[Search, Found | None, Ranked]:
        with self._opened() as live:
            found = self._find(live)
            return self._search(live, found), found, self._rank()

    def _rank(self) -> Ranked:
        """Return what the query finds. Cached."""
        if self._ranked is None:
            with self._opened() as live:
                self._ranked = self._rank_in(live)
        return self._ranked

    def _rank_in(self, live: LiveCollection) -> Ranked:
        query, found = self.query, self._find(live)
        search = self._search(live, found)
        if found is not None:
            if self._is_closest:
                return rank_closest(search, found) if found.is_empty else Ranked()
            return Ranked() if found.is_empty else rank_found(search, found)
        if self._is_closest:
            return Ranked()
        if not isinstance(query, TextQuery) or query.photo:
            return rank_by_meaning(search)
        if not query.words:
            return Ranked(conditions=search.conditions, total=search.count(search.conditions))
        return rank_everything(search, query)

    def _search(self, live: LiveCollection, found: Found | None) -> Search:
        return Search(
            live=live,
            query=self.query,
            weighted=self._get_retrievers(live) if found is None else found.weighted,
            conditions=[*self._base, *self.query.conditions],
        )

    def _find(self, live: LiveCollection) -> Found | None:
        """Return what the words find without the filters, or None if the whole shop is ranked. Cached.

        A collection of an earlier version has no words until `clip_reindex` has added them.
        """
        query = self.query
        if not isinstance(query, TextQuery) or query.everything or not live.collection.has_words:
            return None
        typed = query

        def embed(parsed: ParsedText) -> Sequence[WeightedRetriever]:
            if parsed.meaning == typed.parsed.meaning:
                return self._get_retrievers(live)
            return get_retrievers(self.document, live, replace(typed, parsed=parsed))

        if self._found is None:
            self._found = find(self.document, live, query.parsed, embed, self._base)
        return self._found
