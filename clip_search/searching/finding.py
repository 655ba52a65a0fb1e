"""Decide what a search by words finds.

Words prove: a product is found if an exact field equals the query, or if its texts have every word that
carries meaning. Beside these, a product is found if its meaning is as near as theirs: in every ranking by
meaning, its score reaches that of the proven products' lower quartile. If nothing is proven, nothing is
found, and the nearest products are only shown as the closest ones.

No threshold on scores can decide this: see docs/explanation/relevance.rst.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..documents.binding import BoundDocument
from ..stores.base import CLIP, TERMS, Condition, Query, Rank, Retriever
from ..types import IMAGE, TEXT, WORDS
from .live_collection import LiveCollection
from .parsing import ParsedText, Wanted
from .retrieval import WeightedRetriever
from .spelling import Reading, other_readings

DEPTH: Final = 100
"""How many products of each ranking are merged. All others that are found follow, ordered by id.

A server's time grows with it. With a depth of 1000 the first page is the same: tests/benchmarks/depth.py."""
MOST_ADDED: Final = 100
"""How many products are added at most because their meaning is near."""
LEAST_PROVEN: Final = 3
"""With fewer proven products, none is added: too few scores to tell what is near. Nor with DEPTH or more."""
QUARTILE: Final = 0.75
IN_PASSING: Final = 0.5
"""A product names the words in passing if it lacks this share of one word's part of the highest score."""
LEAST_STRONG: Final = 2
"""With fewer of these, none is left out: too few scores to tell what is far away."""

EXACT: Final = "exact"
ALL_WORDS: Final = "all words"
WITHOUT_IMAGE: Final = "without image"
MEANING: Final = (TEXT, IMAGE)
Rankings = Mapping[str, Sequence[Rank]]
"""The rankings "words", "text" and "image", the products that match exactly, and those without an image.

Phrases, joined words and the beginnings of codes have no weight, so "words" may lack products that have them.
If nothing is ranked by meaning, "all words" has these too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search by words finds, whatever filters the shopper chooses."""

    reading: Reading
    weighted: Sequence[WeightedRetriever]
    """The vectors of this reading, with the weights of their rankings."""
    exact: Sequence[Condition] = ()
    """Met by products of which an exact field equals the query. Without a condition, there are none."""
    words: Sequence[Condition] = ()
    """Met by products that have all words, and not only in passing. Without a condition, there are none."""
    added: Sequence[uuid.UUID] = ()
    """Products that are as near in meaning as those that have all words."""
    rankings: Rankings
    """The rankings of the proven products, without filters. At most DEPTH of each."""
    is_complete: bool
    """Whether the rankings have all proven products."""
    nearest: Rankings
    """The rankings by meaning of the other products, without filters, if some may be added."""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is found."""
        return not any(self.rankings.values())

    @property
    def proven(self) -> int:
        """Return how many products have all words, up to the number that is ranked."""
        return len(self.rankings.get(WORDS, ()))

    @property
    def condition(self) -> Condition:
        """Return the condition that all found products meet, and no others."""
        proven = (self.exact, self.words)
        ways = [Condition(key="", operator="all", value=list(way)) for way in proven if way]
        if self.added:
            ways.append(with_ids(self.added))
        return Condition(key="", operator="any", value=ways)


def find(
    document: BoundDocument,
    live: LiveCollection,
    parsed: ParsedText,
    embed: Callable[[ParsedText], Sequence[WeightedRetriever]],
    conditions: Sequence[Condition],
) -> Found:
    """Return what a search by words finds among the products that meet the conditions.

    `embed` returns the vectors of a reading of the query. Each way to read the query is tried until one finds
    something. If none does, the query is read as it was typed.
    """
    typed = _find(live, Reading(parsed=parsed), embed(parsed), conditions)
    if not typed.is_empty:
        return typed
    knows = getattr(live.encoder, "knows", None)
    for reading in other_readings(document, parsed, knows or (lambda word: False)):
        found = _find(live, reading, embed(reading.parsed), conditions)
        if not found.is_empty:
            return found
    return typed


def _find(
    live: LiveCollection,
    reading: Reading,
    weighted: Sequence[WeightedRetriever],
    conditions: Sequence[Condition],
) -> Found:
    retrievers = [retriever for _, retriever in weighted]
    exact, words = exact_conditions(reading.parsed), words_conditions(reading.parsed)
    proven = proven_queries(reading.parsed, retrievers, exact, words, conditions)
    answers = live.store.rank(live.collection.name, list(proven.values()))
    rankings: Rankings = dict(zip(proven, answers, strict=True))
    is_complete = all(len(ranking) < DEPTH for ranking in rankings.values())
    has_words = {one.id for name, ranking in rankings.items() if name != EXACT for one in ranking}
    if left_out := in_passing(rankings, len(reading.parsed.wanted)):
        words.append(with_ids(left_out, negated=True))
        rankings = {
            name: ranking if name == EXACT else without(ranking, left_out)
            for name, ranking in rankings.items()
        }
    nearest: Rankings = {}
    if is_complete and len(rankings.get(WORDS, ())) >= LEAST_PROVEN and can_be_shown(reading.parsed):
        conditions = [*conditions, *excluded_conditions(reading.parsed)]
        nearest = others(live, retrievers, conditions, has_words)
    return Found(
        reading=reading,
        weighted=weighted,
        exact=exact if rankings.get(EXACT) else (),
        words=words if any(rankings[name] for name in rankings if name != EXACT) else (),
        added=near(rankings, nearest),
        rankings=rankings,
        is_complete=is_complete,
        nearest=nearest,
    )


def others(
    live: LiveCollection,
    retrievers: Sequence[Retriever],
    conditions: Sequence[Condition],
    has_words: Collection[uuid.UUID],
) -> dict[str, list[Rank]]:
    """Return the rankings by meaning of the products that do not have the words, at most MOST_ADDED of each.

    All products are ranked, because a condition on words would take the store twice as long.
    """
    queries = [
        Query(retriever=retriever, conditions=conditions, limit=MOST_ADDED + len(has_words))
        for retriever in retrievers
    ]
    answers = live.store.rank(live.collection.name, queries)
    return {
        retriever.using: without(ranking, has_words)[:MOST_ADDED]
        for retriever, ranking in zip(retrievers, answers, strict=True)
    }


def without(ranking: Sequence[Rank], ids: Collection[uuid.UUID]) -> list[Rank]:
    """Return a ranking without the points with these ids."""
    return [one for one in ranking if one.id not in ids]


def proven_queries(
    parsed: ParsedText,
    retrievers: Sequence[Retriever],
    exact: Sequence[Condition],
    words: Sequence[Condition],
    conditions: Sequence[Condition],
) -> dict[str, Query]:
    """Return the queries that rank the products that are proven, by the kind of evidence."""
    queries = {}
    if exact:
        queries[EXACT] = Query(conditions=[*conditions, *exact], limit=DEPTH)
    if words:
        by_words = Retriever(using=WORDS, vector=parsed.ranked)
        for retriever in (by_words, *retrievers):
            queries[retriever.using] = Query(
                retriever=retriever, conditions=[*conditions, *words], limit=DEPTH
            )
        queries |= without_image(retrievers, [*conditions, *words])
        if not retrievers:
            queries[ALL_WORDS] = Query(conditions=[*conditions, *words], limit=DEPTH)
    return queries


def without_image(retrievers: Sequence[Retriever], conditions: Sequence[Condition]) -> dict[str, Query]:
    """Return the query for products without an image that the text ranks high, or {} if nothing is compared.

    A product that is not in the ranking by image may have another image, or none.
    """
    by_name = {retriever.using: retriever for retriever in retrievers}
    if not by_name.keys() >= {TEXT, IMAGE}:
        return {}
    has_no_image = Condition(key=IMAGE, operator="has_vector", value=True, negated=True)
    query = Query(retriever=by_name[TEXT], conditions=[*conditions, has_no_image], limit=DEPTH)
    return {WITHOUT_IMAGE: query}


def near(rankings: Rankings, nearest: Rankings) -> list[uuid.UUID]:
    """Return the products that are as near in meaning as the proven ones, the nearest first.

    In each ranking by meaning, they reach the score of the proven product at the lower quartile of the first
    100. If more products reach it than are proven, the ranking does not tell them apart, and none is added.
    """
    proven = len(rankings.get(WORDS, ()))
    near: dict[uuid.UUID, float] | None = None
    for name, others in nearest.items():
        if not rankings[name]:
            continue
        lowest = lowest_score(rankings[name])
        reached = {one.id: one.score for one in others if one.score >= lowest}
        if len(reached) > min(proven, MOST_ADDED - 1):
            return []
        near = reached if near is None else {k: near[k] + score for k, score in reached.items() if k in near}
    return sorted(near or {}, key=lambda key: (-(near or {})[key], key))


def can_be_shown(parsed: ParsedText) -> bool:
    """Return whether a picture or other words can say what is wanted. They cannot say numbers and phrases."""
    texts = [one.text for one in parsed.wanted]
    return not any(" " in text or any(map(str.isdigit, text)) for text in texts)


def in_passing(rankings: Rankings, number_of_words: int) -> list[uuid.UUID]:
    """Return the products that have all words, but only in passing, as in "goes well with our red mug".

    Their score by words is far below the highest one, and in each ranking by meaning they come after all
    products whose score is not. If more products have the words than are ranked, none is left out: those
    that are not ranked are further away.
    """
    by_words = rankings.get(WORDS, ())
    if not 0 < len(by_words) < DEPTH:
        return []
    enough = (1 - IN_PASSING / number_of_words) * by_words[0].score
    strong = {one.id for one in by_words if one.score >= enough}
    weak = {one.id for one in by_words} - strong
    if len(strong) < LEAST_STRONG or not weak:
        return []
    compared = False
    for name in MEANING:
        scores = {one.id: one.score for one in rankings.get(name, ())}
        if not scores.keys() & strong:
            continue
        compared = True
        lowest = min(scores[key] for key in scores.keys() & strong)
        weak = {key for key in weak if scores.get(key, lowest) < lowest}
    return sorted(weak) if compared else []


def lowest_score(proven: Sequence[Rank]) -> float:
    """Return the score that other products must reach in a ranking to be as near as the proven ones."""
    first = proven[:MOST_ADDED]
    return first[int(QUARTILE * (len(first) - 1))].score


def exact_conditions(parsed: ParsedText) -> list[Condition]:
    """Return the conditions for products of which an exact field equals the query, or a code in it."""
    if not parsed.exact:
        return []
    equal = Condition(key=f"{CLIP}.exact", operator="in", value=list(parsed.exact))
    return [equal, *excluded_conditions(parsed)]


def words_conditions(parsed: ParsedText) -> list[Condition]:
    """Return the conditions for products that have everything that is wanted."""
    if not parsed.wanted:
        return []
    return [*map(has, parsed.wanted), *excluded_conditions(parsed)]


def excluded_conditions(parsed: ParsedText) -> list[Condition]:
    """Return the conditions that leave out products with what the shopper excluded."""
    return [negated([has(one)]) for one in parsed.excluded]


def negated(conditions: Sequence[Condition]) -> Condition:
    """Return the condition for points that do not meet all of these conditions."""
    return Condition(key="", operator="all", value=list(conditions), negated=True)


def has(wanted: Wanted) -> Condition:
    """Return the condition for products that have a word, code or phrase in one of its spellings."""
    single = [terms[0] for terms in wanted.alternatives if len(terms) == 1]
    several = [
        Condition(key="", operator="all", value=[Condition(key=TERMS, operator="eq", value=t) for t in terms])
        for terms in wanted.alternatives
        if len(terms) > 1
    ]
    one_of = Condition(key=TERMS, operator="in", value=single)
    if not several:
        return one_of
    return Condition(key="", operator="any", value=[*([one_of] if single else []), *several])


def with_ids(ids: Iterable[uuid.UUID], *, negated: bool = False) -> Condition:
    """Return the condition for the points with these ids or, if `negated`, for all others."""
    return Condition(key="", operator="id", value=list(ids), negated=negated)
