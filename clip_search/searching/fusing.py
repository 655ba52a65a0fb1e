"""Merge several rankings of the same products into one."""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..stores.base import Rank


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
    standard deviations from the mean of its ranking (Montague & Aslam, "Relevance score normalization for
    metasearch", CIKM 2001). A product's score is the mean over the rankings that can compare it, so a product
    without an image loses nothing. In this mean, a ranking counts by its weight, and by how far its best
    product stands out: texts that are all alike, such as SKUs, should not decide. Only the ratio of the
    weights matters. The mean is mapped to 0 to 1 by the logistic function. Equal scores are ordered by id.
    """
    sums: dict[uuid.UUID, tuple[float, float]] = {}
    standardised = [one for one in map(_standardised, rankings) if one]
    ids = {key for _, scores, _, _ in standardised for key in scores}
    for weight, scores, others, lacking in standardised:
        for key in ids:
            score = scores.get(key, None if key in lacking else others)
            if score is not None:
                total, weights = sums.get(key, (0.0, 0.0))
                sums[key] = total + weight * score, weights + weight
    means = {key: total / weights for key, (total, weights) in sums.items()}
    ordered = sorted(means.items(), key=lambda item: (-item[1], item[0]))
    return {key: 1 / (1 + math.exp(-mean)) for key, mean in ordered}


def _standardised(
    ranking: Ranking,
) -> tuple[float, dict[uuid.UUID, float], float | None, Collection[uuid.UUID]] | None:
    """Return the weight, the standard scores by id, that of other products, and those that lack one.

    Return None if the ranking says nothing: it has no weight or no products.
    """
    if not ranking.weight or not ranking.ranks:
        return None
    scores = [one.score for one in ranking.ranks]
    mean = math.fsum(scores) / len(scores)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
    deviation = max(deviation, 1e-6)  # of equal scores, it would be the error of their rounding
    best = (scores[0] - mean) / deviation
    others = None if ranking.others is None else (ranking.others - mean) / deviation
    standard = {one.id: (one.score - mean) / deviation for one in ranking.ranks}
    return ranking.weight * max(best, 1e-3), standard, others, ranking.lacking


def without_last_ties(ranking: Sequence[Rank], limit: int) -> Sequence[Rank]:
    """Return a ranking that may have been cut at `limit` without the points that share the last score.

    Which of these the store returned is left to chance, so they could be on two pages, or on none.
    """
    if len(ranking) < limit or ranking[0].score == ranking[-1].score:
        return ranking
    return [one for one in ranking if one.score != ranking[-1].score]
