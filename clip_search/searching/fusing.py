"""Merge several rankings of the same products into one."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Final

from ..stores.base import Rank

RRF_K: Final = 2
"""The constant k of reciprocal rank fusion: a product's score is the sum of weight / (k + rank).

Cormack, Clarke & Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
methods" (SIGIR 2009) use 60. But a product without an image is in fewer rankings than the others, and with
k = 60 it would come after all of them: see docs/explanation/relevance.rst. Ranks start at 0.
"""


def fuse(rankings: Iterable[tuple[float, Sequence[Rank]]], k: float = RRF_K) -> dict[uuid.UUID, float]:
    """Return {id: score} of everything in the rankings, best first. Each ranking has a weight.

    The score is the share of the highest score possible, so it is at most 1, and only the ratio of the
    weights matters. If all weights are 0, so are all scores. Equal scores are ordered by id.
    """
    scores: dict[uuid.UUID, float] = {}
    highest = 0.0
    for weight, ranking in rankings:
        highest += weight / k
        for rank, one in enumerate(ranking):
            scores[one.id] = scores.get(one.id, 0.0) + weight / (k + rank)
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return {key: score / (highest or 1.0) for key, score in ordered}


def without_last_ties(ranking: Sequence[Rank], limit: int) -> Sequence[Rank]:
    """Return a ranking that may have been cut at `limit` without the points that share the last score.

    Which of these the store returned is left to chance, so they could be on two pages, or on none.
    """
    if len(ranking) < limit or ranking[0].score == ranking[-1].score:
        return ranking
    return [one for one in ranking if one.score != ranking[-1].score]
