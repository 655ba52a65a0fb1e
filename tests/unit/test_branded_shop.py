"""The catalogue of brands that tests/benchmarks/branded measures with: its texts, queries and judgments."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from types import SimpleNamespace

import pytest

from clip_search.documents.text import clean, fold
from tests.benchmarks.branded import absent, judgments, measure, queries
from tests.benchmarks.branded.__main__ import ALL_FOUND, FIRST_TEN
from tests.benchmarks.branded.attributes import CROWDING_KIND
from tests.benchmarks.branded.judgments import Query, is_right, right
from tests.benchmarks.branded.queries import PER_CLASS, REAL, Queries, joined, real_queries, split
from tests.benchmarks.branded.shop import SEED, VARIANTS, Variant, shown
from tests.benchmarks.branded.words import FRENCH, LANGUAGES, every_value, say, with_colour
from tests.conftest import ROOT
from tests.samples.heldout_captions import COLOURS, FRENCH_COLOURS

FIGURES = (*FIRST_TEN, *ALL_FOUND)
CLASSES = {
    *queries.SAID,
    *queries.COLOURED,
    queries.BEGINNING,
    queries.TYPO_IN_BRAND,
    queries.TYPO_IN_NOUN,
    queries.SYNONYM,
    queries.OTHER_LANGUAGE,
}
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=[*VARIANTS])
complete = pytest.mark.parametrize(
    "variant", [VARIANTS["english-complete"], VARIANTS["french-complete"]], ids=LANGUAGES
)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", fold(text))


@cache
def plain_texts(variant: Variant) -> dict[str, str]:
    """Return by SKU all that the shop says of a product, in the order of the document's text fields."""
    return {product.sku: clean(". ".join(variant.text(product).values())) for product in variant.products()}


@cache
def vocabulary(variant: Variant) -> frozenset[str]:
    """Return all words of the shop's texts, without accents."""
    return frozenset(map(fold, variant.vocabulary()))


@cache
def asked(variant: Variant) -> list[Query]:
    return Queries(variant.products(), variant.language, SEED).every()


def digest(name: str) -> str:
    """Return a hash of everything that a figure depends on."""
    variant = VARIANTS[name]
    everything = (
        variant.products(),
        [variant.text(product) for product in variant.products()],
        asked(variant),
        absent.nonsense(variant.vocabulary(), SEED),
        absent.foreign(variant.language, SEED),
    )
    return hashlib.sha256(repr(everything).encode()).hexdigest()


# Products and texts.


def test_another_process_makes_the_same_shop():
    code = f"from {__name__} import digest; print(digest('french-complete'))"
    environment = {
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    found = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {code}"],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert found.stdout.strip() == digest("french-complete")


@every_variant
def test_the_shop_is_large_and_every_product_its_own(variant):
    products = variant.products()
    assert len(products) >= 600
    assert len({product.sku for product in products}) == len(products)
    assert len({(product.number, product.colour) for product in products}) == len(products)
    assert {product.number: product.model for product in products} == {
        number: model for model, number in {product.model: product.number for product in products}.items()
    }


@every_variant
def test_one_kind_fills_the_crowded_shop_alone(variant):
    kinds = Counter(product.kind for product in variant.products())
    share = kinds[CROWDING_KIND] / kinds.total()
    assert 0.55 < share < 0.65 if variant.crowded else share < 0.1


@every_variant
def test_a_description_has_300_words_and_its_decisive_one_comes_last_and_nowhere_else(variant):
    tokens_read = 77  # a word is at least one token
    products = variant.products()
    for product in products:
        assert 300 <= len(clean(variant.text(product)["description"]).split()) < 330
        motif = words(say("motif", product.motif, variant.language))
        said = words(plain_texts(variant)[product.sku])
        assert said[-len(motif) :] == motif
        assert not {*motif} & {*said[: -len(motif)]}
        assert len(said) - len(motif) > tokens_read


@every_variant
def test_no_colourless_text_names_a_colour_and_every_other_name_does(variant):
    colours = (
        {form for forms in FRENCH_COLOURS.values() for form in forms}
        if variant.language == FRENCH
        else {*COLOURS}
    )
    assert bool(colours & variant.vocabulary()) == variant.says_colour
    for product in variant.products():
        assert bool(colours & {*variant.text(product)["name"].split()}) == variant.says_colour


@complete
def test_a_text_says_every_attribute(variant):
    for product in variant.products():
        text = plain_texts(variant)[product.sku]
        assert product.number in text
        for attribute in ("kind", "brand", "series", "material", "size", "category", "motif"):
            assert say(attribute, getattr(product, attribute), variant.language) in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_values_have_the_same_name(language):
    for attribute, values in every_value().items():
        if attribute != "colour":
            assert len({say(attribute, value, language) for value in values}) == len(values)


# Queries.


@every_variant
def test_every_class_has_forty_different_queries_that_the_shop_can_answer(variant):
    products, found = variant.products(), asked(variant)
    texts = {asked_by: {q.text for q in found if q.asked_by == asked_by} for asked_by in CLASSES}
    assert {query.asked_by for query in found} == CLASSES
    assert all(len(different) == PER_CLASS >= 40 for different in texts.values())
    assert all(right(products, query) for query in found)


@every_variant
def test_what_is_right_is_said_in_the_words_of_the_query(variant):
    """Where words can prove the answer, they do: the attributes and the texts agree."""
    texts = {sku: {*words(text)} for sku, text in plain_texts(variant).items()}
    exact = {
        queries.BRAND,
        queries.SERIES,
        queries.WRITTEN,
        queries.MATERIAL,
        queries.CATEGORY,
        queries.LATE_WORD,
    }
    for query in asked(variant):
        if query.asked_by in exact:
            typed = {word for word in words(query.text) if word != "en"}
            assert all(typed <= texts[sku] for sku in right(variant.products(), query))


@complete
def test_what_a_cross_selling_sentence_advertises_is_not_right(variant):
    products = variant.products()
    advertising = [product for product in products if product.advertises]
    assert 0.05 < len(advertising) / len(products) < 0.15
    for product in advertising:
        kind, colour = product.advertises
        text = with_colour(say("kind", kind, variant.language), kind, colour, variant.language)
        assert text in plain_texts(variant)[product.sku]
        assert not is_right(product, Query(asked_by="", text=text, wanted={"kind": kind, "colour": colour}))


@complete
def test_a_typo_is_a_word_of_no_text(variant):
    typos = [q for q in asked(variant) if q.asked_by in (queries.TYPO_IN_BRAND, queries.TYPO_IN_NOUN)]
    assert all(not {*words(query.text)} <= vocabulary(variant) for query in typos)


@complete
def test_a_synonym_and_the_other_language_have_a_word_of_no_text(variant):
    for query in asked(variant):
        if query.asked_by == queries.SYNONYM:
            assert not {*words(query.text)} <= vocabulary(variant)


@complete
def test_a_beginning_begins_one_name_only(variant):
    names = [
        (attribute, value, word)
        for attribute, values in every_value().items()
        if attribute != "colour"
        for value in values
        for word in fold(say(attribute, value, variant.language)).split()
    ]
    for query in asked(variant):
        if query.asked_by == queries.BEGINNING:
            typed = query.text.split()[-1]
            begun = {(attribute, value) for attribute, value, word in names if word.startswith(typed)}
            assert len(begun) == 1
            assert begun <= {*query.wanted.items()}


@pytest.mark.parametrize(
    ("number", "without", "parts"),
    [
        ("XR-4200/2", "xr4200/2", "xr 4200 2"),
        ("KD 310", "kd310", "kd 310"),
        ("T65-B", "t65b", "t 65 b"),
        ("90.412", "90412", "90 412"),
    ],
)
def test_a_model_number_is_spelled_in_three_ways(number, without, parts):
    assert (joined(number), split(number)) == (without, parts)


@every_variant
def test_400_queries_are_real(variant):
    real = real_queries(asked(variant), SEED, says_colour=variant.says_colour)
    assert len({(query.asked_by, query.text) for query in real}) == REAL == 400
    assert variant.says_colour or not {query.asked_by for query in real} & {*queries.COLOURED}


@complete
def test_nothing_in_the_shop_is_nonsense_or_foreign(variant):
    nonsense, foreign = (
        absent.nonsense(variant.vocabulary(), SEED),
        absent.foreign(variant.language, SEED),
    )
    for found in (nonsense, foreign):
        assert len({query.text for query in found}) == 200
        assert not any(right(variant.products(), query) for query in found)
        assert all(not {*words(query.text)} <= vocabulary(variant) for query in found)
    assert all(not {*words(query.text)} & vocabulary(variant) for query in nonsense)


# Judgments.


def test_the_figures_of_an_answer():
    right = {"a", "b"}
    assert judgments.recall(["a", "x"], right) == judgments.found_recall({"a", "x"}, right) == 0.5
    assert judgments.recall([*"xxxxxxxxxx", "a"], right) == judgments.hit([*"xxxxxxxxxx", "a"], right) == 0
    assert judgments.recall([*"0123456789"], {*"0123456789abcdef"}) == 1
    assert judgments.ndcg(["a", "b", "x"], right) == judgments.hit(["x", "a"], right) == 1
    assert judgments.ndcg(["a", "x", "b"], right) == pytest.approx(1.5 / (1 + 1 / 1.5849625))
    assert judgments.found_precision(["a", "x", "y", "z"], right) == 0.25
    assert judgments.found_precision([], right) == judgments.recall([], right) == 0


class Row:
    def __init__(self, sku: str) -> None:
        self.sku = sku


class Answer(list[Row]):
    """What a search returns, once the package knows the closest products too."""

    closest: list[Row] = []

    def hits(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(product_id=row.sku) for row in self]

    def exists(self) -> bool:
        return bool(self)


def test_a_shopper_sees_the_results_or_else_the_closest_products():
    results = Answer([Row("a"), Row("b")])
    results.closest = [Row("c"), Row("d")]
    assert shown(results, 1) == ["a"]
    results.clear()
    assert shown(results, 1) == ["c"]
    assert shown([], 1) == []


@every_variant
def test_a_perfect_search_has_perfect_figures_and_no_text_asks_for_two_things(variant):
    products = variant.products()
    every = [*asked(variant), *Queries(products, variant.language, SEED).crowding()]
    answers: dict[str, set[str]] = {}
    for query in every:
        wanted = right(products, query)
        assert answers.setdefault(query.text, wanted) == wanted
    table = measure.rows(variant, lambda text: Answer(map(Row, sorted(answers.get(text, ())))))
    assert {row["queries"] for row in table} >= CLASSES
    for row in table:
        assert {row[name] for name in FIGURES if name in row} == {1.0}


@complete
def test_a_search_that_finds_the_whole_shop_has_poor_figures(variant):
    everything = Answer(Row(product.sku) for product in variant.products())
    for row in measure.rows(variant, lambda text: everything):
        assert row.get("empty", 0) == 0
        assert row.get("recall", 1) == 1
        assert all(row.get(name, 0) < 0.25 for name in FIGURES if name != "recall")
