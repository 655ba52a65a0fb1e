"""The figures of one variant of the shop, as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from . import absent, judgments
from .judgments import FIRST, Query, right
from .queries import CROWDING, Queries, real_queries
from .shop import SEED, Variant, found, shown

Search = Callable[[str], Any]
"""Returns the results for what a shopper types."""


def rows(variant: Variant, search: Search) -> list[dict[str, Any]]:
    """Measure everything in a shop that is indexed."""
    products = variant.products()
    queries = Queries(products, variant.language, SEED)
    every = queries.every()
    measured = [(query, right(products, query)) for query in every]
    by_class = dict.fromkeys(query.asked_by for query in every)
    table = [
        first_ten(asked_by, [pair for pair in measured if pair[0].asked_by == asked_by], search)
        for asked_by in by_class
    ]
    real = real_queries(every, SEED, says_colour=variant.says_colour)
    table.append(
        everything_found("words prove it", [(query, right(products, query)) for query in real], search)
    )
    if variant.crowded:
        asked = [(query, right(products, query)) for query in queries.crowding()]
        table.append(everything_found(CROWDING, asked, search))
    for nothing in (
        absent.nonsense(variant.vocabulary(), SEED),
        absent.foreign(variant.language, SEED),
    ):
        table.append(empty_answers(nothing, search))
    return [{"shop": variant.name} | row for row in table]


def first_ten(asked_by: str, asked: Sequence[tuple[Query, set[str]]], search: Search) -> dict[str, Any]:
    """Judge what a shopper sees first."""
    answers = [(shown(search(query.text), FIRST), right) for query, right in asked]
    return {
        "queries": asked_by,
        "count": len(asked),
        "recall@10": fmean(judgments.recall(*answer) for answer in answers),
        "nDCG@10": fmean(judgments.ndcg(*answer) for answer in answers),
        "hit@10": fmean(judgments.hit(*answer) for answer in answers),
    }


def everything_found(
    asked_by: str, asked: Sequence[tuple[Query, set[str]]], search: Search
) -> dict[str, Any]:
    """Judge all results, which are what the count, the facets and the order speak of."""
    answers = [(found(search(query.text)), right) for query, right in asked]
    return {
        "queries": asked_by,
        "count": len(asked),
        "precision": fmean(judgments.found_precision(*answer) for answer in answers),
        "recall": fmean(judgments.found_recall(*answer) for answer in answers),
    }


def empty_answers(asked: Sequence[Query], search: Search) -> dict[str, Any]:
    """Return the share of the queries for which nothing is found."""
    return {
        "queries": asked[0].asked_by,
        "count": len(asked),
        "empty": fmean(not search(query.text).exists() for query in asked),
    }
