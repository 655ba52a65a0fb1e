"""Explain a search: how the query was read, why products are found, and why a certain one is not."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from ..documents.binding import BoundDocument
from ..documents.text import normalise
from ..documents.words import BEGINNING
from ..models import IndexEntry
from ..stores.base import Condition, Query, Retriever
from ..types import IMAGE, TEXT, WORDS, Point
from .explanations import Explanation, ProductExplanation, QueryReading, Standing, WordMatch, WordReading
from .filters import Filters, parse_filters
from .finding import (
    DEPTH,
    LEAST_PROVEN,
    Found,
    can_be_shown,
    excluded_conditions,
    has,
    lowest_score,
    negated,
    with_ids,
)
from .parsing import Alternative, ParsedText, Parser, Wanted
from .placing import SINGLE_DEPTH, Ranked, Search
from .queries import TextQuery, Weights, text_query
from .ranking import RankedPoint, Ranking

OTHERS: Final = "others"
"""The products that do not have all words, or the whole shop if it is ranked."""


def explain(
    document: BoundDocument,
    text: str,
    *,
    limit: int = 10,
    product_id: str | None = None,
    filters: Filters | None = None,
    weights: Weights | None = None,
    min_score: float | None = None,
    everything: bool | None = None,
) -> Explanation:
    """Return why the first products are found, and why `product_id` is where it is, or is not found.

    The other arguments are those of `searching.search()`, and the same exceptions are raised, at once. The
    index itself is asked what each product has, so this is true also if its row has changed since.
    """
    conditions = parse_filters(document, filters)
    query = text_query(document, text, conditions, weights or {}, min_score=min_score, everything=everything)
    ranking = Ranking(document, query, with_posted=True)
    own = None if product_id is None else document.point_id(product_id)
    with ranking.session():
        search, found, ranked = ranking.decision()
        are_closest = found is not None and not ranked.total
        shown = (ranking.with_query(query, is_closest=True) if are_closest else ranking).page(0, limit)
        ids = list(dict.fromkeys([*(point.id for point in shown), *([own] if own else [])]))
        evidence = _Evidence(search, found, query, ids)
        named = [f"{name}={value}" for name, value in (filters or {}).items()]
        asked = _Asked(document, evidence, ranked, dict(zip(named, conditions, strict=True)))
        names = _names(
            document, [*(p.stamp.product_id for p in shown), *([product_id] if product_id else [])]
        )
        return Explanation(
            document=document.name,
            query=query.words,
            reading=_reading(document, query, found),
            count=ranked.total,
            is_whole_shop=found is None,
            are_closest=are_closest,
            weights=query.weights,
            products=tuple(
                _shown(evidence, point, names, None if are_closest else rank)
                for rank, point in enumerate(shown, 1)
            ),
            product=None if product_id is None else asked.explained(product_id, names),
        )


def _names(document: BoundDocument, product_ids: Sequence[str]) -> dict[str, str]:
    return {key: str(row) for key, row in document.find(document.queryset(), product_ids).items()}


def _reading(document: BoundDocument, query: TextQuery, found: Found | None) -> QueryReading:
    parser, reading = Parser(document), found.reading if found else None
    parsed = reading.parsed if reading else query.parsed
    synonyms = {alternative for others in parser.synonyms.values() for alternative in others}
    kept = {one.text for one in parsed.wanted}
    ignored = (
        " ".join(parts)
        for parts in parser.analyser.chunks(query.parsed.meaning)
        if parser.says_nothing(parts)
    )
    return QueryReading(
        words=tuple(
            WordReading(
                text=one.text,
                spellings=tuple(map(_spelt, one.alternatives)),
                synonyms=tuple(_spelt(each) for each in one.alternatives[1:] if each in synonyms),
                is_phrase=one.is_phrase,
            )
            for one in parsed.wanted
        ),
        excluded=tuple(one.text for one in parsed.excluded),
        ignored=tuple(dict.fromkeys(word for word in ignored if word not in kept)),
        meaning=parsed.meaning,
        corrected=reading.corrected if reading else "",
        dropped=reading.dropped if reading else (),
    )


def _spelt(alternative: Alternative) -> str:
    """Return the terms of an alternative as text: "xr + 4200", or "sku4…" for the beginning of a code."""
    return " + ".join(
        f"{term.removeprefix(BEGINNING)}…" if term.startswith(BEGINNING) else term for term in alternative
    )


class _Evidence:
    """What the index knows about the products with these ids, read in two requests."""

    def __init__(
        self, search: Search, found: Found | None, query: TextQuery, ids: Sequence[uuid.UUID]
    ) -> None:
        self.search, self.found, self.ids = search, found, ids
        self.parsed: ParsedText = found.reading.parsed if found else query.parsed
        self.min_score = query.min_score
        live = search.live
        self.stored: Mapping[uuid.UUID, Point] = live.store.get(live.collection.name, ids) if ids else {}
        self.retrievers = [*search.retrievers]
        if live.collection.has_words and self.parsed.ranked:
            self.retrievers.insert(0, Retriever(using=WORDS, vector=self.parsed.ranked))
        queries = self._queries() if ids else {}
        self._answers = (
            dict(zip(queries, search.rank(list(queries.values())), strict=True)) if queries else {}
        )
        self._scores = {key: {one.id: one.score for one in answer} for key, answer in self._answers.items()}

    def _queries(self) -> dict[tuple[Any, ...], Query]:
        """Return the queries that rank the products and test their words, by what they are for."""
        queries: dict[tuple[Any, ...], Query] = {}
        for retriever in self.retrievers:
            queries["score", retriever.using] = self._query(retriever=retriever)
            for group, (conditions, depth) in self._groups(retriever.using).items():
                queries["rank", retriever.using, group] = Query(
                    retriever=retriever, conditions=conditions, limit=depth
                )
        for number, one in enumerate(self.parsed.wanted):
            terms = {term: self.parsed.ranked.get(term, 1.0) for terms in one.alternatives for term in terms}
            queries["weight", number] = self._query(retriever=Retriever(using=WORDS, vector=terms))
            for alternative in one.alternatives:
                single = Wanted(text=one.text, alternatives=[alternative])
                queries["has", number, alternative] = self._query(has(single))
        for number, one in enumerate(self.parsed.excluded):
            queries["excluded", number] = self._query(has(one))
        if not self.search.live.collection.has_words:
            queries = {key: one for key, one in queries.items() if key[0] in ("score", "rank")}
        return queries

    def _query(self, *conditions: Condition, retriever: Retriever | None = None) -> Query:
        """Return a query that finds those of the products that meet the conditions."""
        own = [with_ids(self.ids), *conditions]
        return Query(retriever=retriever, conditions=own, limit=len(self.ids))

    def _groups(self, using: str) -> dict[str, tuple[Sequence[Condition], int]]:
        """Return the conditions of the products that are ranked together, and how many are ranked."""
        conditions = [*self.search.conditions, *excluded_conditions(self.parsed)]
        if self.found is None:
            return {OTHERS: (conditions, SINGLE_DEPTH)}
        groups: dict[str, tuple[Sequence[Condition], int]] = {}
        if self.found.words:
            groups[WORDS] = ([*self.search.conditions, *self.found.words], DEPTH)
            conditions.append(negated(self.found.words))
        if using != WORDS:
            groups[OTHERS] = (conditions, SINGLE_DEPTH)
        return groups

    def words(self, key: uuid.UUID) -> tuple[WordMatch, ...]:
        """Return what a product has of each wanted word."""
        return tuple(
            WordMatch(
                text=one.text,
                spellings=tuple(
                    _spelt(each)
                    for each in one.alternatives
                    if key in self._scores.get(("has", number, each), ())
                ),
                weight=self._scores.get(("weight", number), {}).get(key, 0.0),
            )
            for number, one in enumerate(self.parsed.wanted)
        )

    def excluded(self, key: uuid.UUID) -> list[str]:
        """Return what a product has of what the query excludes."""
        excluded = enumerate(self.parsed.excluded)
        return [one.text for number, one in excluded if key in self._scores.get(("excluded", number), ())]

    def exact(self, key: uuid.UUID) -> tuple[str, ...]:
        """Return what the query names of the exact values of a product."""
        point, typed = self.stored.get(key), self.parsed.meaning
        named = {normalise(text): text for text in (*typed.split(), typed)}
        values = point.stamp.exact if point else ()
        return tuple(named.get(value, value) for value in values if value in self.parsed.exact)

    def rankings(self, key: uuid.UUID) -> dict[str, Standing]:
        """Return where a product stands in each ranking. Those that do not have it are left out."""
        standings = {}
        for retriever in self.retrievers:
            using = retriever.using
            score = self._scores.get(("score", using), {}).get(key)
            if score is not None:
                rank = self._rank(using, WORDS, key) or self._rank(using, OTHERS, key)
                standings[using] = Standing(score=score, rank=rank, needed=self.needed(using))
        return standings

    def _rank(self, using: str, group: str, key: uuid.UUID) -> int | None:
        ranking = self._answers.get(("rank", using, group), ())
        return next((rank for rank, one in enumerate(ranking, 1) if one.id == key), None)

    def needed(self, using: str) -> float | None:
        """Return the score that other products must reach, or None if meaning adds none."""
        if not self.found or using not in self.found.nearest:
            return None
        ranking = self.found.rankings[using]
        return lowest_score(ranking) if ranking else None


def _shown(
    evidence: _Evidence, point: RankedPoint, names: Mapping[str, str], rank: int | None
) -> ProductExplanation:
    """Return the evidence of a product that is found or, if `rank` is None, only among the closest."""
    return ProductExplanation(
        product_id=point.stamp.product_id,
        name=names.get(point.stamp.product_id, ""),
        is_found=rank is not None,
        rank=rank,
        basis=point.place.basis,
        relevance=point.place.relevance,
        exact=evidence.exact(point.id),
        words=evidence.words(point.id),
        rankings=evidence.rankings(point.id),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """Explains where a certain product stands."""

    document: BoundDocument
    evidence: _Evidence
    ranked: Ranked
    filters: Mapping[str, Condition]

    def explained(self, product_id: str, names: Mapping[str, str]) -> ProductExplanation:
        key = self.document.point_id(product_id)
        stored = self.evidence.stored.get(key)
        is_found = key in self.ranked.places or self._meets(key, self.ranked.conditions)
        place = (self.ranked.places.get(key) or self.ranked.others) if is_found else None
        notes = self._state(key, is_stored=stored is not None and not stored.stamp.removed)
        if stored is not None and not stored.stamp.removed and not is_found:
            notes += self._reasons(key)
        return ProductExplanation(
            product_id=product_id,
            name=names.get(product_id, ""),
            is_found=is_found,
            rank=list(self.ranked.places).index(key) + 1 if key in self.ranked.places else None,
            basis=place.basis if place else None,
            relevance=place.relevance if place else 0.0,
            exact=self.evidence.exact(key),
            words=self.evidence.words(key),
            rankings=self.evidence.rankings(key),
            notes=tuple(notes),
        )

    def _meets(self, key: uuid.UUID, conditions: Sequence[Condition]) -> bool:
        """Return whether a product is among those that are found, of which there may be none."""
        return bool(self.ranked.total and self.evidence.search.count([*conditions, with_ids([key])]))

    def _state(self, key: uuid.UUID, *, is_stored: bool) -> list[str]:
        """Return what the index entry says if it is not simply indexed."""
        entry = IndexEntry.objects.of(self.document).filter(uuid=key).first()
        if entry is None:
            return [] if is_stored else [_("It was never indexed. Run `manage.py clip_reindex`.")]
        if entry.state == IndexEntry.State.FAILED:
            return [_("It could not be indexed: %s") % entry.error]
        if entry.state == IndexEntry.State.PENDING:
            error = f" {entry.error}" if entry.error else ""
            return [_("It waits to be indexed, so the index has its earlier content or none.") + error]
        if entry.state == IndexEntry.State.REMOVED:
            return [_("It was removed from the index, because it is not among the rows to index.")]
        return [] if is_stored else [_("The index has lost it. Run `manage.py clip_verify`.")]

    def _reasons(self, key: uuid.UUID) -> list[str]:
        """Return why the search does not find a product that is in the index."""
        evidence = self.evidence
        reasons = [_("It has “%s”, which the query excludes.") % text for text in evidence.excluded(key)]
        for name, condition in self.filters.items():
            if not evidence.search.count([condition, with_ids([key])]):
                reasons.append(_("It does not meet the filter %s.") % name)
        lacking = [one.text for one in evidence.words(key) if not one.spellings]
        is_allowed = not reasons
        if lacking and evidence.found:
            reasons.append(_("It lacks: %s.") % ", ".join(lacking))
        elif is_allowed and evidence.min_score is not None:
            return [_("Neither its text nor its image reaches the score %s.") % evidence.min_score]
        elif is_allowed and evidence.parsed.wanted:
            rule = _("It has all words, but others have them with more weight and are nearer in meaning.")
            reasons.append(rule)
        if is_allowed and evidence.found and not evidence.found.is_empty:
            reasons += self._reasons_of_meaning(key, evidence.found)
        return reasons

    def _reasons_of_meaning(self, key: uuid.UUID, found: Found) -> list[str]:
        """Return why a product without all words is not found for its meaning."""
        evidence, reasons = self.evidence, []
        if not can_be_shown(evidence.parsed):
            return [_("Meaning adds no products to a query with a number or a phrase.")]
        if found.proven < LEAST_PROVEN:
            rule = _("Meaning adds products only if at least %d have all words; here %d have.")
            return [rule % (LEAST_PROVEN, found.proven)]
        if not found.is_complete:
            return [_("Meaning adds products only if fewer than %d have all words.") % DEPTH]
        rankings = evidence.rankings(key)
        for using, name in ((TEXT, _("text")), (IMAGE, _("image"))):
            standing, needed = rankings.get(using), evidence.needed(using)
            if needed is None:
                continue
            if standing is None:
                reasons.append(_("Its %s is not in the index, so it is not found for its meaning.") % name)
            elif standing.score < needed:
                rule = _("The cosine of its %s is %.3f; to be found for its meaning, it needs %.3f.")
                reasons.append(rule % (name, standing.score, needed))
        return reasons or [
            _("It is as near in meaning, but so are more products than have all words: none is added.")
        ]
