"""Figures of how good a ranked list is. `ranked` are the grades of what is shown, in order, 0 for wrong ones.

`grades` are the grades of all products that are right for the query, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

FIRST: Final = 10
"""How many products of a list are judged."""


def dcg(ranked: Iterable[float]) -> float:
    """Return the discounted cumulative gain: the sum of (2^grade - 1) / log2(rank + 1), ranks from 1.

    The exponential gain is that of Burges et al., "Learning to rank using gradient descent" (ICML 2005); with
    grades of 0 and 1 it is the sum of Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR
    techniques" (ACM TOIS 20, 2002). "Good" with grade 2 counts three times as much as "fair" with grade 1.
    """
    return sum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(ranked, 1))


def ndcg(ranked: Sequence[float], grades: Iterable[float], first: int = FIRST) -> float:
    """Return the DCG of the first products as a share of the highest possible, from 0 to 1.

    If no product is right, it is 0.
    """
    best = dcg(sorted(grades, reverse=True)[:first])
    return dcg(ranked[:first]) / best if best else 0.0


def recall(ranked: Sequence[float], grades: Iterable[float], first: int = FIRST) -> float:
    """Return how many of the right products are among the first, as a share of the most there can be.

    With 30 right products, ten of them among the first ten are 1.0. If no product is right, it is 0.
    """
    right = sum(grade > 0 for grade in grades)
    return sum(grade > 0 for grade in ranked[:first]) / min(right, first) if right else 0.0


def reciprocal_rank(ranked: Sequence[float], first: int = FIRST) -> float:
    """Return 1 / the rank of the first right product, or 0 if none is among the first."""
    return next((1 / rank for rank, grade in enumerate(ranked[:first], 1) if grade > 0), 0.0)
