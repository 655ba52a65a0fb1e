"""Beginnings and misspelt words, compared with the words of a shop."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from clip_search.documents.words import Analyser, analyser
from clip_search.searching.vocabulary import Vocabulary
from tests.benchmarks.branded.absent import foreign, nonsense
from tests.benchmarks.branded.queries import with_typo
from tests.benchmarks.branded.shop import SEED, VARIANTS, Variant
from tests.benchmarks.branded.words import ENGLISH, FRENCH, say

CODES = {ENGLISH: "en", FRENCH: "fr"}


def vocabulary(**counts: int) -> Vocabulary:
    return Vocabulary(counts, analyser("en").stem)


class TestWords:
    def test_a_word_is_known_by_its_stem(self):
        found = vocabulary(mugs=3)
        assert found.knows("mug")
        assert not found.knows("mugs")
        assert not found.knows("teapot")

    def test_products_are_counted_by_word(self):
        found = vocabulary(mug=7, mugs=3)
        assert [found.products(word) for word in ("mug", "mugs", "mu", "muggs", "")] == [7, 3, 0, 0, 0]

    def test_extended_has_the_words_of_both(self):
        found = vocabulary(mug=7, red=2).extended({"red": 5, "teapots": 1})
        assert [found.products(word) for word in ("mug", "red", "teapots")] == [7, 5, 1]
        assert found.knows("teapot") and found.knows("mug")

    def test_an_empty_vocabulary_answers(self):
        found = vocabulary()
        assert not found.knows("mug")
        assert found.completions("mu") == found.corrections("mugg") == []


class TestCompletions:
    def test_the_most_frequent_come_first_then_the_shortest(self):
        found = vocabulary(mug=7, mule=9, music=7, red=20, museum=1)
        assert found.completions("mu") == ["mule", "mug", "music", "museum"]
        assert found.completions("mu", limit=2) == ["mule", "mug"]
        assert found.completions("mug") == ["mug"]
        assert found.completions("zz") == []

    @pytest.mark.parametrize("beginning", ["", "m"])
    def test_fewer_than_two_letters_are_not_completed(self, beginning):
        assert vocabulary(mug=7).completions(beginning) == []

    def test_letters_of_all_planes_are_completed(self):
        assert vocabulary(**{"mu\N{MATHEMATICAL BOLD SMALL A}": 1, "mv": 1}).completions("mu") == [
            "mu\N{MATHEMATICAL BOLD SMALL A}"
        ]


class TestCorrections:
    @pytest.mark.parametrize("typo", ["teapto", "taepot", "tapot", "teappot", "teapit", "teapots", "etapot"])
    def test_one_edit_is_corrected(self, typo):
        assert vocabulary(teapot=3, kettle=5).corrections(typo) == ["teapot"]

    @pytest.mark.parametrize("typo", ["hta", "ht", "x4200", "xr420", "teatop", "taepto"])
    def test_short_words_codes_and_two_edits_of_a_short_word_are_not_corrected(self, typo):
        assert vocabulary(hat=9, xr4200=9, teapot=9).corrections(typo) == []

    def test_long_words_may_have_two_edits(self):
        assert vocabulary(headphones=3).corrections("haedphnes") == ["headphones"]
        assert vocabulary(headphones=3).corrections("haedphns") == []

    def test_a_wrong_first_letter_counts_as_two_edits(self):
        found = vocabulary(went=400, headphones=3)
        assert found.corrections("tent") == []
        assert found.corrections("geadphones") == ["headphones"]
        assert found.corrections("geadphnes") == []

    def test_fewer_edits_come_first_then_slips_then_frequent_words(self):
        assert vocabulary(headphone=1, headphones=90).corrections("headphonee") == ["headphones", "headphone"]
        assert vocabulary(sort=400, shirt=3).corrections("sirt") == ["shirt", "sort"]
        assert vocabulary(heat=400, hat=3).corrections("haat") == ["hat", "heat"]
        assert vocabulary(soap=400, sofa=3).corrections("soaf") == ["sofa", "soap"]
        assert vocabulary(rose=3, role=40, robe=5).corrections("roee") == ["role", "robe", "rose"]

    def test_a_word_of_one_product_comes_after_frequent_ones(self):
        assert vocabulary(shirt=1, sort=2).corrections("sirt") == ["sort", "shirt"]

    def test_a_word_is_no_correction_of_itself(self):
        assert vocabulary(teapot=3, teapots=2).corrections("teapot") == ["teapots"]

    def test_at_most_limit_words_are_returned(self):
        found = vocabulary(**{f"teapo{letter}": 2 for letter in "abcdef"})
        assert found.corrections("teapot", limit=2) == ["teapoa", "teapob"]


@pytest.fixture(scope="module", params=["english-complete", "french-complete"])
def shop(request) -> tuple[Variant, Analyser, Vocabulary]:
    """Return the shop of a benchmark, and the words of its texts."""
    variant = VARIANTS[request.param]
    analyse = analyser(CODES[variant.language])
    counts: Counter[str] = Counter()
    for product in variant.products():
        counts.update(analyse.words_of((text, 1.0) for text in variant.text(product).values()).vocabulary)
    return variant, analyse, Vocabulary(counts, analyse.stem)


def words_of(text: str, analyse: Analyser) -> Iterator[str]:
    return (word for parts in analyse.chunks(text) for word in parts if not analyse.is_stop_word(word))


def test_words_that_the_shop_does_not_have_are_left_alone(shop):
    variant, analyse, found = shop
    queries = [*nonsense(variant.vocabulary(), SEED), *foreign(variant.language, SEED)]
    words = [word for query in queries for word in words_of(query.text, analyse)]
    unknown = [word for word in words if not found.knows(analyse.stem(word))]
    corrected = {word: found.corrections(word) for word in unknown if found.corrections(word)}
    assert len(unknown) > 600
    assert sum(word in corrected for word in unknown) <= 0.03 * len(unknown), corrected


def test_typos_in_brands_and_nouns_are_corrected(shop):
    variant, analyse, found = shop
    rng = random.Random(SEED)
    pairs = [
        pair
        for product in variant.products()
        for text in (product.brand, say("kind", product.kind, variant.language))
        for pair in zip(words_of(text, analyse), words_of(with_typo(text, rng), analyse), strict=False)
    ]
    typos = [(right, typo) for right, typo in pairs if right != typo and len(typo) > 3]
    wrong = []
    for right, typo in typos:
        best = found.corrections(typo, limit=1) or [typo]
        # "bouteile" has the stem of "bouteille": it needs no correction
        if analyse.stem(right) not in (analyse.stem(typo), analyse.stem(best[0])):
            wrong.append((right, typo, best))
    assert len(typos) > 1000
    assert len(wrong) <= 0.05 * len(typos), wrong
