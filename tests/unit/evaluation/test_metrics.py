"""The figures of an evaluation, compared with values that were computed by hand."""

from __future__ import annotations

from math import log2

import pytest

from clip_search.evaluation.metrics import dcg, ndcg, recall, reciprocal_rank


def test_gains_grow_with_the_grade_and_shrink_with_the_rank():
    # 3/1 + 0 + 1/log2(4) + 7/log2(5)
    assert dcg([2, 0, 1, 3]) == pytest.approx(3 + 0.5 + 7 / 2.321928094887362)
    assert dcg([]) == 0


def test_ndcg_compares_with_the_best_order():
    # best: 7/1 + 3/log2(3) + 1/log2(4)
    best = 7 + 3 / 1.584962500721156 + 0.5
    assert ndcg([2, 0, 1, 3], [1, 2, 3]) == pytest.approx((3 + 0.5 + 7 / 2.321928094887362) / best)
    assert ndcg([3, 2, 1], [1, 2, 3]) == 1
    assert ndcg([1], [1, 1]) == pytest.approx(1 / (1 + 1 / log2(3)))
    assert ndcg([0, 0], [1]) == ndcg([], [1]) == ndcg([0], [0]) == ndcg([], []) == 0


def test_only_the_first_ten_count():
    assert ndcg([0] * 10 + [1], [1]) == recall([0] * 10 + [1], [1]) == reciprocal_rank([0] * 10 + [1]) == 0
    assert ndcg([1] * 10, [1] * 30) == 1


def test_recall_is_a_share_of_what_ten_ranks_can_hold():
    assert recall([0, 1, 0, 2], [1, 2, 1]) == pytest.approx(2 / 3)
    assert recall([1] * 10, [1] * 30) == 1
    assert recall([1] * 5 + [0] * 5, [1] * 30) == 0.5
    assert recall([0], [0]) == 0


def test_the_reciprocal_rank_is_that_of_the_first_right_product():
    assert reciprocal_rank([0, 0, 1, 3]) == pytest.approx(1 / 3)
    assert reciprocal_rank([0.5, 1]) == 1
    assert reciprocal_rank([0, 0]) == reciprocal_rank([]) == 0
