"""Give each product that a query finds its place: what it is found by, its score, and its rank."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from ..stores.base import Condition, Query, Rank, Retriever
from ..types import IMAGE, WORDS, Basis
from . import queries
from .finding import (
    ALL_WORDS,
    DEPTH,
    EXACT,
    MEANING,
    WITHOUT_IMAGE,
    Found,
    Rankings,
    exact_conditions,
    excluded_conditions,
    proven_queries,
    with_ids,
    without_image,
    words_conditions,
)
from .fusing import Ranking, fuse, without_last_ties
from .live_collection import LiveCollection
from .queries import TextQuery
from .retrieval import WeightedRetriever

SINGLE_DEPTH: Final = 1000
"""How many products are ranked if there is only one ranking, so that nothing need be merged."""
MOST_CLOSEST: Final = 12
"""How many products are the closest ones at most, if nothing is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Why a product was found, and how well it fits."""

    score: float = 0.0
    basis: Basis = "meaning"
    relevance: float = 0.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is needed to rank: the collection, the query, its vectors, and the conditions of all products."""

    live: LiveCollection
    query: queries.Query
    weighted: Sequence[WeightedRetriever]
    """The vectors to search near in meaning, with the weights of their rankings."""
    conditions: Sequence[Condition]
    """What every product must meet, the filters of the shopper among them."""

    @property
    def retrievers(self) -> list[Retriever]:
        """Return the vectors to search near in meaning."""
        return [retriever for _, retriever in self.weighted]

    def rank(self, queries: Sequence[Query]) -> list[list[Rank]]:
        """Return the ranking of each query, in one request to the store."""
        return self.live.store.rank(self.live.collection.name, queries)

    def count(self, conditions: Sequence[Condition]) -> int:
        """Return how many products meet the conditions."""
        return self.live.store.count(self.live.collection.name, conditions=conditions)

    def merge(self, rankings: Rankings) -> dict[uuid.UUID, float]:
        """Return the merged ranking, {id: score}, of rankings by words and by meaning."""
        weights = {retriever.using: weight for weight, retriever in self.weighted}
        if isinstance(self.query, TextQuery):
            weights[WORDS] = self.query.weights[WORDS]
        lacking = rankings.get(WITHOUT_IMAGE, ())
        return fuse(
            weighted_ranking(weights[name], name, ranking, lacking)
            for name, ranking in rankings.items()
            if name in weights
        )


def weighted_ranking(
    weight: float, using: str, ranking: Sequence[Rank], lacking: Sequence[Rank], depth: int = DEPTH
) -> Ranking:
    """Return a ranking to merge. `lacking` are the products without an image."""
    others = None
    if using == WORDS:
        others = 0.0  # a product that is not in this ranking has none of the words
    elif len(ranking) >= depth:
        others = ranking[-1].score
    return Ranking(
        weight=weight,
        ranks=without_last_ties(ranking, depth),
        others=others,
        lacking={one.id for one in lacking} if using == IMAGE else (),
    )


def rank_found(search: Search, found: Found) -> Ranked:
    """Rank what a search by words finds: exact matches, then all words, then what is as near in meaning."""
    rankings, added, lowest = found.rankings, found.added, search.query.min_score
    is_complete = found.is_complete
    if search.query.conditions:
        proven = proven_queries(
            found.reading.parsed, search.retrievers, found.exact, found.words, search.conditions
        )
        near = Query(conditions=[*search.conditions, with_ids(added)], limit=max(len(added), 1))
        *answers, left = search.rank([*proven.values(), near])
        rankings = dict(zip(proven, answers, strict=True))
        is_complete = all(len(ranking) < DEPTH for ranking in answers)
        allowed = {one.id for one in left}
        added = [key for key in added if key in allowed]
    places = places_of(rankings, search.merge(rankings), added)
    conditions = [*search.conditions, found.condition]
    if lowest is not None:
        places = near_enough(places, [rankings, found.nearest], lowest)
        return Ranked(conditions=[*conditions, with_ids(list(places))], places=places, total=len(places))
    total = len(places) if is_complete else search.count(conditions)
    return Ranked(conditions=conditions, places=places, total=total, others=Place(basis="words"))


def places_of(
    rankings: Rankings, merged: Mapping[uuid.UUID, float], added: Sequence[uuid.UUID]
) -> dict[uuid.UUID, Place]:
    """Return the places of what a search by words finds, best first."""
    places = {
        key: Place(score=1.0, basis="exact", relevance=1.0)
        for key in by_score(rankings.get(EXACT, ()), merged)
    }
    for key, score in merged.items():
        places.setdefault(key, Place(score=score, basis="words", relevance=score))
    for ranking in (rankings.get(WORDS, ()), rankings.get(ALL_WORDS, ())):
        for one in ranking if len(ranking) < DEPTH else ():  # without a weight, none of them is merged
            places.setdefault(one.id, Place(basis="words"))
    lowest = min((place.relevance for place in places.values()), default=1.0)
    for number, key in enumerate(added, 1):
        near = lowest * (1 - number / (len(added) + 1))
        places.setdefault(key, Place(score=near, basis="meaning", relevance=near))
    return places


def by_score(ranking: Sequence[Rank], merged: Mapping[uuid.UUID, float]) -> list[uuid.UUID]:
    """Return the ids of a ranking in the order of their merged scores."""
    return sorted((one.id for one in ranking), key=lambda key: (-merged.get(key, 0.0), key))


def near_enough(
    places: Mapping[uuid.UUID, Place], rankings: Sequence[Rankings], lowest: float
) -> dict[uuid.UUID, Place]:
    """Return the places of products whose text or image has at least the cosine `lowest`."""
    near = {
        one.id
        for by_name in rankings
        for name in MEANING
        for one in by_name.get(name, ())
        if one.score >= lowest
    }
    return {key: place for key, place in places.items() if key in near}


def rank_closest(search: Search, found: Found) -> Ranked:
    """Rank the products that are nearest in meaning to words that no product has."""
    conditions = [*search.conditions, *excluded_conditions(found.reading.parsed)]
    lowest = search.query.min_score
    closest = {
        one.using: Query(retriever=one, conditions=conditions, limit=DEPTH, min_score=lowest)
        for one in search.retrievers
    }
    closest |= without_image(search.retrievers, conditions)
    rankings = dict(zip(closest, search.rank(list(closest.values())), strict=True))
    places = {
        key: Place(score=score, relevance=score)
        for key, score in islice(search.merge(rankings).items(), MOST_CLOSEST)
    }
    return Ranked(conditions=[with_ids(list(places))], places=places, total=len(places))


def rank_everything(search: Search, query: TextQuery) -> Ranked:
    """Rank the whole shop by words: exact matches, then products that have all words, then the others."""
    parsed, has_words = query.parsed, search.live.collection.has_words
    conditions = [*search.conditions, *excluded_conditions(parsed)]
    weighted = list(search.weighted)
    by_words = Retriever(using=WORDS, vector=parsed.ranked) if has_words and parsed.ranked else None
    if by_words and query.weights[WORDS]:
        weighted.append((query.weights[WORDS], by_words))
    if not weighted:  # by words alone, in a collection that has none yet, or for a query that has none
        return all_of(search, conditions, {})
    tiers: dict[Basis, Query] = {}
    if exact := exact_conditions(parsed):
        tiers["exact"] = Query(conditions=[*conditions, *exact], limit=DEPTH)
    if by_words:
        with_words = [*conditions, *words_conditions(parsed)]
        tiers["words"] = Query(retriever=by_words, conditions=with_words, limit=DEPTH)
    ranked = ranked_by_all(search, weighted, conditions, before=list(tiers.values()))
    places: dict[uuid.UUID, Place] = {}
    lowest = 1.0
    for basis, tier in zip(tiers, ranked.before, strict=True):
        for key in by_score(tier, ranked.scores):
            if key not in places:
                lowest = 1.0 if basis == "exact" else min(lowest, ranked.scores.get(key, 0.0))
                places[key] = Place(score=lowest, basis=basis, relevance=max(lowest, 0.0))
    for key, score in ranked.scores.items():
        if key not in places:
            lowest = min(lowest, score)
            places[key] = Place(score=lowest, relevance=max(lowest, 0.0))
    if search.query.min_score is not None:
        places = {key: place for key, place in places.items() if key in ranked.near}
    return all_of(search, ranked.conditions, places)


def rank_by_meaning(search: Search) -> Ranked:
    """Rank the products by their vectors, for a photo, with or without words, or for another product."""
    if not search.weighted:
        return Ranked()
    conditions = list(search.conditions)
    if isinstance(search.query, TextQuery):
        conditions += excluded_conditions(search.query.parsed)
    ranked = ranked_by_all(search, search.weighted, conditions)
    places = {
        key: Place(score=score, relevance=min(max(score, 0.0), 1.0)) for key, score in ranked.scores.items()
    }
    return all_of(search, ranked.conditions, places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The scores of several rankings together, best first: cosines if there is one ranking, by meaning."""

    scores: Mapping[uuid.UUID, float]
    conditions: Sequence[Condition]
    near: Collection[uuid.UUID]
    """What is in a ranking by meaning. Only this has the cosine that the query demands."""
    before: Sequence[Sequence[Rank]]
    """The answers to other queries of the same request."""


def ranked_by_all(
    search: Search,
    weighted: Sequence[WeightedRetriever],
    conditions: Sequence[Condition],
    *,
    before: Sequence[Query] = (),
) -> Scores:
    """Rank the products that meet the conditions by all of these vectors.

    With only one, products that do not have this vector are left out. `before` are queries to answer in the
    same request, which leave out the same products.
    """
    depth = DEPTH
    if len(weighted) == 1:
        depth = SINGLE_DEPTH
        has_vector = Condition(key=weighted[0][1].using, operator="has_vector", value=True)
        conditions = [*conditions, has_vector]
        before = [replace(query, conditions=[*query.conditions, has_vector]) for query in before]
    by_each = [
        Query(
            retriever=retriever,
            conditions=conditions,
            limit=depth,
            min_score=None if retriever.using == WORDS else search.query.min_score,
        )
        for _, retriever in weighted
    ]
    lacking = without_image([retriever for _, retriever in weighted], conditions)
    answers = search.rank([*before, *by_each, *lacking.values()])
    rankings = answers[len(before) :][: len(by_each)]
    no_image = answers[-1] if lacking else ()
    if len(rankings) == 1 and weighted[0][1].using != WORDS:
        scores = {one.id: one.score for one in without_last_ties(rankings[0], depth)}
    else:
        scores = fuse(
            weighted_ranking(weight, retriever.using, ranking, no_image, depth)
            for (weight, retriever), ranking in zip(weighted, rankings, strict=True)
        )
    near = {
        one.id
        for (_, retriever), ranking in zip(weighted, rankings, strict=True)
        if retriever.using != WORDS
        for one in ranking
    }
    return Scores(scores=scores, conditions=conditions, near=near, before=answers[: len(before)])


def all_of(search: Search, conditions: Sequence[Condition], places: Mapping[uuid.UUID, Place]) -> Ranked:
    """Return all products that meet the conditions, or only those with places if a score is demanded."""
    if search.query.min_score is not None:
        return Ranked(conditions=[*conditions, with_ids(list(places))], places=places, total=len(places))
    return Ranked(conditions=conditions, places=places, total=search.count(conditions))
