"""The ranked list of all results of a query. Only the products of the ranks that are asked for are read."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, TypeVar

from ..documents.binding import BoundDocument
from ..exceptions import CollectionMissing
from ..stores import base
from ..stores.base import CLIP, Condition, Rank, Retriever
from ..types import WORDS, Basis, Stamp
from .finding import (
    DEPTH,
    EXACT,
    Found,
    exact_conditions,
    excluded_conditions,
    find,
    proven_queries,
    with_ids,
    words_conditions,
)
from .fusing import fuse, without_last_ties
from .live_collection import LiveCollection, as_search_unavailable, get_live_collection
from .queries import MoreLikeThis, Query, TextQuery
from .retrieval import WeightedRetriever, get_retrievers

SINGLE_DEPTH: Final = 1000
"""How many products are ranked if there is only one ranking, so that nothing need be merged."""
MOST_CLOSEST: Final = 12
"""How many products are the closest ones at most, if nothing is found."""

# Negated, so that a point without this key counts as having a row.
HAS_ROW: Final = Condition(key=f"{CLIP}.without_row", operator="eq", value=True, negated=True)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Why a product was found, and how well it fits."""

    score: float = 0.0
    basis: Basis = "meaning"
    relevance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPoint:
    """A product that was found, as it is stored."""

    id: uuid.UUID
    stamp: Stamp
    payload: Mapping[str, Any]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The products that a query finds under its filters."""

    conditions: Sequence[Condition] = ()
    """All of them meet these conditions, and no others do."""
    places: Mapping[uuid.UUID, Place] = field(default_factory=dict)
    """The first products, best first. All others follow in the order of their ids."""
    total: int = 0
    others: Place = Place()
    """The place of the products that are not in `places`."""


class Ranking:
    """The list of all results of a query, best first.

    What a search by words finds is decided once: see `finding`. Filters narrow it. Posted products that have
    no row in the shop are left out unless `with_posted` is True. Methods that ask the store raise
    SearchUnavailable; a damaged image raises BadImage.
    """

    def __init__(
        self, document: BoundDocument, query: Query, *, with_posted: bool = False, is_closest: bool = False
    ) -> None:
        self.document = document
        self.query = query
        self.is_with_posted = with_posted
        self._is_closest = is_closest
        self._base: list[Condition] = [] if with_posted else [HAS_ROW]
        if query.exclude:
            self._base.append(replace(with_ids(query.exclude), negated=True))
        self._reset(None)

    def with_query(
        self, query: Query, *, with_posted: bool | None = None, is_closest: bool | None = None
    ) -> Ranking:
        """Return a ranking that reuses the vectors of this one. `query` may differ only in its conditions.

        If `is_closest`, it has the products that are nearest in meaning if nothing is found, and none otherwise.
        """
        with_posted = self.is_with_posted if with_posted is None else with_posted
        is_closest = self._is_closest if is_closest is None else is_closest
        ranking = Ranking(self.document, query, with_posted=with_posted, is_closest=is_closest)
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
        self._left_out: list[int] = []

    # What callers ask for.

    def page(self, start: int, end: int | None) -> list[RankedPoint]:
        """Return the points at the ranks from `start` to `end` - 1. Points that were left out have no rank."""
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

    def facet(self, key: str, limit: int) -> dict[str, int]:
        """Return the number of products for each value of a keyword filter."""
        return self._with_retry(lambda: self._facet(key, limit))

    def reading(self) -> Any:
        """Return how the query was read, or None if the whole shop is ranked."""
        return self._with_retry(self._reading)

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
            ids = list(islice(ranked.places, start, end))
            stored = live.store.get(live.collection.name, ids)
            found = [
                RankedPoint(id=key, stamp=stored[key].stamp, payload=stored[key].payload, place=ranked.places[key])
                for key in ids
                if key in stored and not stored[key].stamp.removed  # it may have been removed just now
            ]
            first = len(ranked.places)
            if end > first:
                rest = base.Query(
                    conditions=[*ranked.conditions, replace(with_ids(list(ranked.places)), negated=True)],
                    offset=max(start - first, 0),
                    limit=end - max(start, first),
                )
                found += [
                    RankedPoint(id=one.id, stamp=one.stamp, payload=one.payload, place=ranked.others)
                    for one in live.store.query(live.collection.name, rest)
                ]
            return found

    def _facet(self, key: str, limit: int) -> dict[str, int]:
        with self._opened() as live:
            ranked = self._rank()
            if not ranked.total:
                return {}
            return live.store.facet(
                live.collection.name, key, conditions=ranked.conditions, limit=limit
            )

    def _reading(self) -> Any:
        with self._opened() as live:
            return self._find(live).reading if self._is_decided_by_words(live) else None

    def _rank(self) -> Ranked:
        """Return what the query finds. Cached."""
        if self._ranked is None:
            with self._opened() as live:
                self._ranked = self._rank_in(live)
        return self._ranked

    def _rank_in(self, live: LiveCollection) -> Ranked:
        conditions = [*self._base, *self.query.conditions]
        query = self.query
        if isinstance(query, TextQuery) and not query.words:
            return Ranked(conditions=conditions, total=live.store.count(live.collection.name, conditions=conditions))
        if self._is_decided_by_words(live):
            found = self._find(live)
            if self._is_closest:
                return self._rank_closest(live, found, conditions) if found.is_empty else Ranked()
            return Ranked() if found.is_empty else self._rank_found(live, found, conditions)
        if self._is_closest:
            return Ranked()
        if isinstance(query, TextQuery):
            return self._rank_everything(live, query, conditions)
        return self._rank_by_meaning(live, conditions)

    def _is_decided_by_words(self, live: LiveCollection) -> bool:
        """Return whether words decide what is found; otherwise the whole shop is ranked.

        A collection of an earlier version has no words until `clip_reindex` has added them.
        """
        return (
            isinstance(self.query, TextQuery) and not self.query.everything and live.collection.has_words
        )

    def _find(self, live: LiveCollection) -> Found:
        """Return what the search by words finds without its filters. Cached."""
        if self._found is None:
            assert isinstance(self.query, TextQuery)  # noqa: S101 -- see `_is_decided_by_words()`
            retrievers = [retriever for _, retriever in self._get_retrievers(live)]
            self._found = find(self.document, live, self.query.parsed, retrievers, self._base)
        return self._found

    def _rank_found(self, live: LiveCollection, found: Found, conditions: Sequence[Condition]) -> Ranked:
        """Rank what a search by words finds: exact matches, then all words, then what is as near in meaning."""
        rankings, added = found.rankings, found.added
        if self.query.conditions:
            retrievers = [retriever for _, retriever in self._get_retrievers(live)]
            queries = proven_queries(found.reading.parsed, retrievers, found.exact, found.words, conditions)
            near = base.Query(conditions=[*conditions, with_ids(added)], limit=max(len(added), 1))
            *answers, still_there = live.store.rank(live.collection.name, [*queries.values(), near])
            rankings = dict(zip(queries, answers, strict=True))
            allowed = {one.id for one in still_there}
            added = [key for key in added if key in allowed]
        places = self._places(live, rankings, added)
        conditions = [*conditions, found.condition]
        if self.query.min_score is not None:
            places = near_enough(places, rankings, self.query.min_score)
            conditions = [*conditions, with_ids(list(places))]
        is_all = all(len(ranking) < DEPTH for ranking in rankings.values())
        total = len(places)
        if not is_all and self.query.min_score is None:
            total = live.store.count(live.collection.name, conditions=conditions)
        return Ranked(conditions=conditions, places=places, total=total, others=Place(basis="words"))

    def _places(
        self, live: LiveCollection, rankings: Mapping[str, Sequence[Rank]], added: Sequence[uuid.UUID]
    ) -> dict[uuid.UUID, Place]:
        """Return the places of what a search by words finds, best first."""
        fused = fuse(self._weighted(live, rankings))
        exact = {one.id for one in rankings.get(EXACT, ())}
        places = {
            key: Place(score=1.0, basis="exact", relevance=1.0)
            for key in sorted(exact, key=lambda key: (-fused.get(key, 0.0), key))
        }
        for key, score in fused.items():
            places.setdefault(key, Place(score=score, basis="words", relevance=score))
        lowest = min((place.relevance for place in places.values()), default=1.0)
        for number, key in enumerate(added, 1):
            near = lowest * (1 - number / (len(added) + 1))
            places.setdefault(key, Place(score=near, basis="meaning", relevance=near))
        return places

    def _rank_closest(self, live: LiveCollection, found: Found, conditions: Sequence[Condition]) -> Ranked:
        """Rank the products that are nearest in meaning to words that no product has."""
        rankings = found.nearest
        if self.query.conditions:
            excluded = excluded_conditions(found.reading.parsed)
            retrievers = [retriever for _, retriever in self._get_retrievers(live)]
            queries = {
                one.using: base.Query(retriever=one, conditions=[*conditions, *excluded], limit=DEPTH)
                for one in retrievers
            }
            answers = live.store.rank(live.collection.name, list(queries.values()))
            rankings = dict(zip(queries, answers, strict=True))
        fused = fuse(self._weighted(live, rankings))
        places = {
            key: Place(score=score, basis="meaning", relevance=score)
            for key, score in islice(fused.items(), MOST_CLOSEST)
        }
        return Ranked(conditions=[with_ids(list(places))], places=places, total=len(places))

    def _weighted(
        self, live: LiveCollection, rankings: Mapping[str, Sequence[Rank]]
    ) -> list[tuple[float, Sequence[Rank]]]:
        """Return the rankings by words and by meaning with their weights."""
        weights = {retriever.using: weight for weight, retriever in self._get_retrievers(live)}
        if isinstance(self.query, TextQuery):
            weights[WORDS] = self.query.weights[WORDS]
        return [
            (weights[name], without_last_ties(ranking, DEPTH))
            for name, ranking in rankings.items()
            if name in weights and ranking
        ]

    def _rank_everything(self, live: LiveCollection, query: TextQuery, conditions: list[Condition]) -> Ranked:
        """Rank the whole shop by words: exact matches, then products that have all words, then the others."""
        parsed, store, name = query.parsed, live.store, live.collection.name
        conditions = [*conditions, *excluded_conditions(parsed)]
        weighted = list(self._get_retrievers(live))
        if live.collection.has_words and parsed.ranked and query.weights[WORDS]:
            weighted.append((query.weights[WORDS], Retriever(using=WORDS, vector=parsed.ranked)))
        if not weighted:
            return Ranked()
        tiers = {}
        if not query.photo:
            exact = exact_conditions(parsed)
            words = words_conditions(parsed) if live.collection.has_words else []
            tiers = {
                basis: base.Query(conditions=[*conditions, *tier], limit=DEPTH)
                for basis, tier in (("exact", exact), ("words", words))
                if tier
            }
        depth, conditions = self._depth(weighted, conditions)
        queries = self._meaning_queries(weighted, conditions, depth)
        answers = store.rank(name, [*tiers.values(), *queries])
        fused = fuse(merged(weighted, answers[len(tiers) :], depth))
        places: dict[uuid.UUID, Place] = {}
        for basis, tier in zip(tiers, answers, strict=False):
            for key in sorted((one.id for one in tier), key=lambda key: (-fused.get(key, 0.0), key)):
                score = 1.0 if basis == "exact" else fused.get(key, 0.0)
                places.setdefault(key, Place(score=score, basis=basis, relevance=score))
        for key, score in fused.items():
            places.setdefault(key, Place(score=score, basis="meaning", relevance=score))
        return self._all_of(live, conditions, places)

    def _rank_by_meaning(self, live: LiveCollection, conditions: list[Condition]) -> Ranked:
        """Rank the products by their vectors, for a photo or another product."""
        weighted = self._get_retrievers(live)
        if not weighted:
            return Ranked()
        depth, conditions = self._depth(weighted, conditions)
        answers = live.store.rank(
            live.collection.name, self._meaning_queries(weighted, conditions, depth)
        )
        if len(weighted) == 1:
            scores = {one.id: one.score for one in without_last_ties(answers[0], depth)}
        else:
            scores = fuse(merged(weighted, answers, depth))
        places = {
            key: Place(score=score, relevance=min(max(score, 0.0), 1.0)) for key, score in scores.items()
        }
        return self._all_of(live, conditions, places)

    def _depth(
        self, weighted: Sequence[WeightedRetriever], conditions: list[Condition]
    ) -> tuple[int, list[Condition]]:
        """Return how deep each ranking looks, and the conditions: with one ranking, only of points that it has."""
        if len(weighted) > 1:
            return DEPTH, conditions
        has_vector = Condition(key=weighted[0][1].using, operator="has_vector", value=True)
        return SINGLE_DEPTH, [*conditions, has_vector]

    def _meaning_queries(
        self, weighted: Sequence[WeightedRetriever], conditions: Sequence[Condition], depth: int
    ) -> list[base.Query]:
        return [
            base.Query(
                retriever=retriever,
                conditions=conditions,
                limit=depth,
                min_score=None if retriever.using == WORDS else self.query.min_score,
            )
            for _, retriever in weighted
        ]

    def _all_of(
        self, live: LiveCollection, conditions: Sequence[Condition], places: dict[uuid.UUID, Place]
    ) -> Ranked:
        """Return all products that meet the conditions, or only those with places if a score is demanded."""
        if self.query.min_score is not None:
            only = with_ids(list(places))
            return Ranked(conditions=[*conditions, only], places=places, total=len(places))
        total = live.store.count(live.collection.name, conditions=conditions)
        return Ranked(conditions=conditions, places=places, total=max(total, len(places)))


def merged(
    weighted: Sequence[WeightedRetriever], answers: Sequence[Sequence[Rank]], depth: int
) -> list[tuple[float, Sequence[Rank]]]:
    """Return the weight and the ranking of each retriever."""
    return [
        (weight, without_last_ties(ranking, depth))
        for (weight, _), ranking in zip(weighted, answers, strict=True)
        if ranking
    ]


def near_enough(
    places: Mapping[uuid.UUID, Place], rankings: Mapping[str, Sequence[Rank]], lowest: float
) -> dict[uuid.UUID, Place]:
    """Return the places of products whose text or image has at least the cosine `lowest`."""
    near = {
        one.id
        for name, ranking in rankings.items()
        if name not in (WORDS, EXACT)
        for one in ranking
        if one.score >= lowest
    }
    return {key: place for key, place in places.items() if key in near}
