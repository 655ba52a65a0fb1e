"""Merge several rankings of the same products into one."""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..stores.base import Rank

WINDOW: Final = 50
"""How many products of a ranking say what a high score is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One ranking, and what is known of the products that are not in it."""

    weight: float
    ranks: Sequence[Rank]
    others: float | None = None
    """The score of products that are not in the ranking; None if they have nothing to compare."""
    lacking: Collection[uuid.UUID] = ()
    """Products that have nothing to compare, although others that are not in the ranking do."""


def fuse(rankings: Iterable[Ranking]) -> dict[uuid.UUID, float]:
    """Return {id: score} of everything in the rankings, best first. Scores lie between 0 and 1.

    A cosine between a text and an image says less than one between two texts. So each score is expressed in
    standard deviations from a mean (Montague & Aslam, "Relevance score normalization for metasearch", CIKM
    2001): those of the first WINDOW products, so that the order does not depend on how many were read. A
    product's score is the mean over the rankings that can compare it, so a product without an image loses
    nothing. In this mean, a ranking counts by its weight, and by how far its best product stands out: texts
    that are all alike, such as SKUs, should not decide. How far a product lies behind the window decides only
    between products that are equal otherwise. Only the ratio of the weights matters. The mean is mapped to 0
    to 1 by the logistic function. Equal scores are ordered by id.
    """
    standardised = [_standardised(one) for one in rankings if one.weight and one.ranks]
    means: dict[int, tuple[float, float]] = {}
    for key in {key for one in standardised for key in one.scores}:
        near = far = weights = 0.0
        for one in standardised:
            score = one.scores.get(key, None if key in one.lacking else one.others)
            if score is not None:
                near += one.weight * max(score, one.lowest)
                far += one.weight * score
                weights += one.weight
        if weights:
            means[key] = near / weights, far / weights
    ordered = sorted(means.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
    return {uuid.UUID(int=key): 1 / (1 + math.exp(-near)) for key, (near, _) in ordered}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standardised:
    """A ranking in standard scores. Ids are integers, because the hash of a UUID takes ten times as long."""

    weight: float
    scores: Mapping[int, float]
    lowest: float
    """The standard score of the last product of the window."""
    others: float | None
    lacking: Collection[int]


def _standardised(ranking: Ranking) -> _Standardised:
    window = [one.score for one in ranking.ranks[:WINDOW]]
    mean = math.fsum(window) / len(window)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in window) / len(window))
    deviation = max(deviation, 1e-6)  # of equal scores, it would be the error of their rounding
    best, lowest = (window[0] - mean) / deviation, (window[-1] - mean) / deviation
    return _Standardised(
        weight=ranking.weight * max(best, 1e-3),
        scores={one.id.int: (one.score - mean) / deviation for one in ranking.ranks},
        lowest=lowest,
        others=None if ranking.others is None else (ranking.others - mean) / deviation,
        lacking={key.int for key in ranking.lacking},
    )


def without_last_ties(ranking: Sequence[Rank], limit: int) -> Sequence[Rank]:
    """Return a ranking that may have been cut at `limit` without the points that share the last score.

    Which of these the store returned is left to chance, so they could be on two pages, or on none.
    """
    if len(ranking) < limit or ranking[0].score == ranking[-1].score:
        return ranking
    return [one for one in ranking if one.score != ranking[-1].score]
