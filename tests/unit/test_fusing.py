"""How rankings are merged."""

from __future__ import annotations

import random
import uuid

import pytest

from clip_search.searching.fusing import Ranking, fuse, without_last_ties
from clip_search.stores.base import Rank

IDS = [uuid.UUID(int=number) for number in range(8)]


def ranks(*scores: float) -> list[Rank]:
    """Return a ranking of the first ids with these scores, best first."""
    return sorted((Rank(key, score) for key, score in zip(IDS, scores, strict=False)), key=lambda r: -r.score)


def merged(*rankings: Ranking) -> list[uuid.UUID]:
    return list(fuse(rankings))


def test_what_stands_out_in_both_comes_first():
    text = Ranking(weight=1, ranks=ranks(0.9, 0.8, 0.2, 0.1))
    image = Ranking(weight=1, ranks=ranks(0.10, 0.30, 0.12, 0.11))
    assert merged(text, image)[0] == IDS[1]


def test_the_range_of_the_scores_does_not_count():
    text, small = ranks(0.9, 0.5, 0.1), ranks(0.209, 0.205, 0.201)
    assert merged(Ranking(weight=1, ranks=small)) == merged(Ranking(weight=1, ranks=text))
    assert fuse([Ranking(weight=1, ranks=small)]) == pytest.approx(fuse([Ranking(weight=1, ranks=text)]))


def test_a_product_without_an_image_is_not_behind_those_that_have_one():
    text = Ranking(weight=1, ranks=ranks(0.9, 0.5, 0.4, 0.3))
    image = Ranking(weight=1, ranks=ranks(0.0, 0.3, 0.2, 0.1)[:3], others=0.1, lacking={IDS[0]})
    assert merged(text, image)[0] == IDS[0]


def test_a_product_beyond_the_end_of_a_ranking_has_its_last_score():
    text = Ranking(weight=1, ranks=ranks(0.9, 0.8, 0.1))
    image = Ranking(weight=1, ranks=ranks(-1, 0.9, 0.1)[:2], others=0.1)
    assert merged(text, image)[0] == IDS[1]


def test_a_ranking_of_equal_scores_decides_nothing():
    text = ranks(0.9, 0.5, 0.1)
    alike = Ranking(weight=1, ranks=ranks(0.3, 0.3, 0.3))
    assert merged(Ranking(weight=1, ranks=text), alike) == merged(Ranking(weight=1, ranks=text))


@pytest.mark.parametrize("seed", range(20))
def test_only_the_ratio_of_three_weights_counts(seed):
    rng = random.Random(seed)
    rankings = [ranks(*(rng.random() for _ in IDS)) for _ in range(3)]
    weights = [rng.random() for _ in rankings]

    def order(factor: float) -> list[uuid.UUID]:
        weighted = zip(weights, rankings, strict=True)
        return merged(*(Ranking(weight=factor * weight, ranks=one) for weight, one in weighted))

    assert order(1) == order(1e6) == order(1e-6)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("heavy", range(3))
def test_a_weight_that_outweighs_the_others_leaves_its_ranking_alone(seed, heavy):
    rng = random.Random(seed)
    rankings = [ranks(*(rng.random() for _ in IDS)) for _ in range(3)]
    weighted = [
        Ranking(weight=1e6 if number == heavy else 1, ranks=one) for number, one in enumerate(rankings)
    ]
    assert merged(*weighted) == [one.id for one in rankings[heavy]]


def test_a_weight_of_zero_and_an_empty_ranking_count_nothing():
    text = Ranking(weight=1, ranks=ranks(0.9, 0.5, 0.1))
    assert merged(text, Ranking(weight=0, ranks=ranks(0.1, 0.9)), Ranking(weight=1, ranks=[])) == merged(text)
    assert fuse([]) == {}


def test_scores_lie_between_0_and_1_in_order():
    scores = list(fuse([Ranking(weight=1, ranks=ranks(0.9, 0.5, 0.1, -0.4))]).values())
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_equal_scores_are_ordered_by_id():
    assert merged(Ranking(weight=1, ranks=ranks(0.5, 0.5, 0.5))) == IDS[:3]


def test_what_shares_the_last_score_of_a_cut_ranking_is_left_out():
    cut = ranks(0.9, 0.5, 0.5)
    assert [one.score for one in without_last_ties(cut, 3)] == [0.9]
    assert without_last_ties(cut, 4) == cut
    assert without_last_ties(ranks(0.5, 0.5), 2) == ranks(0.5, 0.5)
