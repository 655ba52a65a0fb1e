"""Merged rankings, at their extremes."""

from __future__ import annotations

import uuid

from clip_search.searching.fusing import Ranking, fuse
from clip_search.stores.base import Rank


def test_a_ranking_of_equal_scores_leaves_others_far_behind():
    one, two, other = (uuid.UUID(int=number) for number in range(3))
    by_words = Ranking(weight=1, ranks=[Rank(one, 2.0), Rank(two, 2.0)], others=0.0)
    by_image = Ranking(weight=1, ranks=[Rank(one, 0.3), Rank(other, 0.2)])
    scores = fuse([by_words, by_image])
    assert list(scores) == [one, two, other]
    assert all(0 <= score <= 1 for score in scores.values())
