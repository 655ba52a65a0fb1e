"""What a shopper's query asks for: words, codes, phrases and exclusions."""

from __future__ import annotations

import pytest

from clip_search import Document
from clip_search.documents.binding import BoundDocument
from clip_search.searching.parsing import parse
from tests.shops.shop.models import Product


def document(**attributes: object) -> BoundDocument:
    return BoundDocument(type("Found", (Document,), {"language": "en", **attributes})(Product))


def wanted(text: str, **attributes: object) -> list[str]:
    return [one.text for one in parse(document(**attributes), text).wanted]


def terms(text: str, number: int = 0, **attributes: object) -> set[tuple[str, ...]]:
    """Return the alternatives for one of the things that a query asks for."""
    return set(parse(document(**attributes), text).wanted[number].alternatives)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red mug", ["red", "mug"]),
        ("I am looking for a red mug, please", ["red", "mug"]),
        ("show me your mugs", ["mugs"]),
        ("The Who", ["the", "who"]),
        ("mug with handle", ["mug", "handle"]),
        ("-5 °C", ["5", "c"]),
        ("t -shirt", ["t", "shirt"]),
        ("", []),
        ("🎉 …", []),
        ("-red", []),
        ('"', []),
        ('""', []),
        ("- -- -!", []),
        ("كوب أحمر", ["كوب", "احمر"]),
    ],
)
def test_words_that_carry_meaning(text, expected):
    assert wanted(text) == expected


def test_words_of_the_document_that_say_nothing():
    assert wanted("online mug shop", stop_words=["Shop", "online"]) == ["mug"]
    assert wanted("je cherche une tasse rouge", language="fr") == ["tasse", "rouge"]


@pytest.mark.parametrize(
    ("text", "alternative"),
    [
        ("t-shirt", ("tshirt",)),
        ("t-shirt", ("t", "shirt")),
        ("tshirt", ("tshirt",)),
        ("t shirt", ("tshirt",)),
        ("mugs", ("mug",)),
        ("XR-4200/2", ("xr42002",)),
        ("XR-4200/2", ("xr4200", "42002")),
        ("xr 4200 2", ("xr4200",)),
        ("250ml", ("250ml",)),
        ("250 ml", ("250ml",)),
        ("SKU-47", ("^sku47",)),
        ("41000", ("^41000",)),
    ],
)
def test_spellings_that_meet(text, alternative):
    assert alternative in terms(text)


def test_a_number_in_a_sentence_is_no_beginning_of_a_code():
    assert all(not term.startswith("^") for one in terms("mug 250", 1) for term in one)


def test_phrases():
    parsed = parse(document(), '"red enamel" mug “with handle”')
    assert [one.text for one in parsed.wanted] == ["mug", "red enamel", "handle"]
    assert list(parsed.wanted[1].alternatives) == [("redenamel",)]
    assert parsed.meaning == "red enamel mug with handle"


def test_a_quote_after_a_number_means_inches_and_one_without_an_end_means_nothing():
    assert wanted('10" pan 12"') == ["10", "inch", "pan", "12", "inch"]
    assert wanted('"red enamel') == ["red", "enamel"]


def test_exclusions():
    parsed = parse(document(), 'mug -red -"cast iron"')
    assert [one.text for one in parsed.wanted] == ["mug"]
    assert {one.text for one in parsed.excluded} == {"red", "cast iron"}
    assert parsed.meaning == "mug"


def test_codes_may_be_exact_values():
    assert set(parse(document(), "SKU-4711 SKU-4712 red").exact) >= {"sku4711", "sku4712"}
    assert "24" not in parse(document(), "pan 24").exact


def test_synonyms_find_each_other_also_if_they_are_several_words():
    synonyms = {"sofa": ["couch", "love seat"]}
    assert ("couch",) in terms("sofas", synonyms=synonyms)
    assert ("love", "seat") in terms("couch", synonyms=synonyms)
    assert ("sofa",) in terms("a love seat", synonyms=synonyms)
    assert ("sofa",) in terms("a love seat", 1, synonyms=synonyms)


@pytest.mark.parametrize(
    "text", ["word " * 200, "a" * 10_000, "a-" * 5_000, '"' * 1_000, "-a " * 500, "😀" * 1_000]
)
def test_a_huge_query_is_cut(text):
    parsed = parse(document(), text)
    assert len(parsed.wanted) <= 32
    assert len(parsed.excluded) <= 32
    assert all(len(term) < 200 for one in parsed.wanted for terms in one.alternatives for term in terms)


def test_a_long_run_of_spaces_takes_no_longer_than_other_text():
    assert wanted('"' + " " * 9_999) == []  # three greedy patterns in a row would try 10^12 ways to split it
    assert wanted('"  red   mug  "') == ["red mug"]
