"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random

LONGEST_DELAY = 300.0
"""The most seconds between two tries while something outside, such as Qdrant, does not work."""


def backoff(attempts: int) -> float:
    """Return how many seconds to wait before the next try, at most LONGEST_DELAY.

    The delay doubles with each failed try. It is partly random, so that what failed together is not tried
    together again.
    """
    longest = min(LONGEST_DELAY, 2.0 ** min(attempts, 16))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311
