"""What a search by words finds: exact matches, then all words, then what is as near in meaning."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from clip_search.models import Collection, Word
from clip_search.searching.vocabulary import Vocabulary
from clip_search.stores import get_store
from clip_search.testing import HashingEncoder
from clip_search.types import Hit
from tests.conftest import forget_declarations, picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product

from .actions import COLOURS, counted, index, make, with_pictures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("any_store")]


def names(text: str, **options: Any) -> list[str]:
    return [product.name for product in ProductDocument.search(text, **options)]


def proven(text: str, **options: Any) -> list[str]:
    """Return the names of the products that are not only added by meaning."""
    return [hit.instance.name for hit in hits(text, **options) if hit.basis != "meaning"]


def learn(document: Any) -> None:
    """Give the vocabulary of a shop the words of its products, as `clip_reindex` does."""
    words = Counter(word for row in Product.objects.all() for word in set(row.name.lower().split()))
    Word.objects.replace(document, words)


def hits(text: str, **options: Any) -> list[Hit]:
    return list(ProductDocument.search(text, **options).hits(with_rows=True))


@pytest.fixture
def sold(document) -> Any:
    """Return a function that indexes products with these names and SKUs."""

    def sell(*products: str | tuple[str, str], **fields: Any) -> list[Product]:
        rows = [one if isinstance(one, tuple) else (one, f"N-{n:03d}") for n, one in enumerate(products)]
        made = Product.objects.bulk_create(Product(name=name, sku=sku, **fields) for name, sku in rows)
        index(document)
        learn(document)
        return made

    return sell


@pytest.fixture
def mugs(sold) -> list[Product]:
    return sold("Red mug", "Red mug with a lid", "Mug", "Large mug in red", "Blue mug", "Red vase", "Lamp")


# Exact, words, meaning


def test_an_exact_name_comes_first_then_all_words(mugs):
    found = hits("red mug")
    assert found[0].instance.name == "Red mug"
    assert {hit.instance.name for hit in found} == {"Red mug", "Red mug with a lid", "Large mug in red"}
    assert [hit.basis for hit in found] == ["exact", "words", "words"]


def test_every_word_must_be_there(mugs):
    assert set(names("mug")) == {product.name for product in mugs if "mug" in product.name.lower()}
    assert names("blue vase") == []
    assert names("red mug lamp") == []


def test_what_is_as_near_in_meaning_is_added_after_what_has_the_words(document):
    said = make(["red thing", "red box", "red bag", "red jar"])
    shown, blue = make(["thing", "thing"])
    with_pictures([*said, shown, blue], [*["red"] * 5, "blue"])
    index(document)
    found = hits("red", weights={"text": 0})
    assert [hit.basis for hit in found] == ["words"] * 4 + ["meaning"]
    assert found[-1].instance == shown
    results = ProductDocument.search("red", weights={"text": 0})
    assert results.count() == 5
    assert [hit.basis for hit in results.filter(in_stock=True).hits()] == ["words"] * 4 + ["meaning"]
    assert results.filter(in_stock=False).count() == 0
    near = ProductDocument.search("red", weights={"text": 0}, min_score=0.3)
    assert [hit.basis for hit in near.hits()] == ["words"] * 4 + ["meaning"]


def test_with_two_proven_products_nothing_is_added(document):
    said = make(["red thing", "red box"])
    with_pictures([*said, *make(["thing"])], ["red"] * 3)
    index(document)
    assert [hit.basis for hit in hits("red", weights={"text": 0})] == ["words"] * 2


@pytest.mark.parametrize("everything", [False, True])
def test_relevance_falls_from_hit_to_hit(document, everything):
    products = make([f"{colour} {thing}" for colour in COLOURS for thing in ("mug", "red mug", "vase")])
    with_pictures(products, COLOURS * 3)
    index(document)
    found = hits("red mug", everything=everything)
    relevance = [hit.relevance for hit in found]
    assert relevance == sorted(relevance, reverse=True)
    assert {hit.basis: 1.0 for hit in found if hit.relevance == 1.0} == {"exact": 1.0}
    assert all(0 <= hit.relevance <= 1 for hit in found)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


# Operators and words that do not count


@pytest.mark.parametrize(
    "text",
    ["I am looking for a red mug", "red mugs", "mug red", "RED  MÚG!", "the red mug please", "red mug?"],
)
def test_how_it_is_said_does_not_matter(mugs, text):
    assert set(proven(text)) == {"Red mug", "Red mug with a lid", "Large mug in red"}


def test_own_stop_words_do_not_count(mugs, monkeypatch):
    assert names("shop red mug") == []
    monkeypatch.setattr(ProductDocument, "stop_words", ["shop"])
    assert len(names("shop red mug")) == 3


def test_a_phrase_needs_its_words_side_by_side(mugs):
    assert set(names('"red mug"')) == {"Red mug", "Red mug with a lid"}
    assert names('large "red mug"') == []
    assert names('"mug red"') == ["Large mug in red"]  # "in" says nothing
    assert names('mug -"red mug"') == names('mug -lid -lamp -"red mug"')


def test_excluded_words_are_not_there(mugs):
    assert set(names("mug -red")) == {"Mug", "Blue mug"}
    assert set(names("mug -red -blue")) == {"Mug"}
    assert {hit.instance.name for hit in hits("mug -red", everything=True)} == {"Mug", "Blue mug", "Lamp"}


@pytest.mark.parametrize("text", ["-red", "-red -mug", '-"red mug"'])
def test_exclusions_alone_find_nothing(mugs, text):
    results = ProductDocument.search(text)
    assert (list(results), results.count(), bool(results), list(results.closest)) == ([], 0, False, [])


def test_a_hyphen_within_or_before_a_number_excludes_nothing(sold):
    sold("T-shirt", "Freezer bag for -5 °C", "Bag")
    assert names("freezer bag -5 °C") == ["Freezer bag for -5 °C"]
    assert names("t-shirt") == names("t -shirt") == ["T-shirt"]


# SKUs and spellings


@pytest.fixture
def coded(sold) -> list[Product]:
    return sold(
        ("Drill", "SKU-4711"), ("Saw", "SKU-4712"), ("Red hammer", "XR-4200/2"), ("Blue hammer", "XR-4300")
    )


def test_several_skus_find_each(coded):
    assert set(names("SKU-4711 XR-4300")) == {"Drill", "Blue hammer"}
    assert {hit.basis for hit in hits("sku-4711, sku-4712")} == {"exact"}


@pytest.mark.parametrize("text", ["XR-4200/2 red", "red xr4200", "xr-4200 hammer"])
def test_a_sku_with_a_word_finds_it_first(coded, text):
    assert names(text)[0] == "Red hammer"


@pytest.mark.parametrize("text", ["SKU-47", "sku47", "sku", "SKU-4711", "4711", "sku 4711", "SKU_4711"])
def test_the_beginning_or_a_whole_part_of_a_sku_finds_it(coded, text):
    assert "Drill" in names(text)
    assert {"Red hammer", "Blue hammer"} & set(names(text)) == set()


@pytest.mark.parametrize("text", ["471", "sk", "KU-47"])
def test_other_pieces_of_a_sku_prove_nothing(coded, text):
    assert "exact" not in {hit.basis for hit in hits(text)}
    assert names("sk zzz") == []


@pytest.mark.parametrize("written", ["T-shirt", "tshirt", "t shirt"])
@pytest.mark.parametrize("typed", ["T-shirt", "tshirt", "t shirt", "T-Shirts"])
def test_joined_and_split_spellings_meet(sold, written, typed):
    sold(f"Green {written} of cotton", "Green shirt dress")
    assert names(f"green {typed}") == [f"Green {written} of cotton"]


def test_synonyms_find_each_other(sold, monkeypatch):
    monkeypatch.setattr(ProductDocument, "synonyms", {"sofa": ["couch", "chaise longue"]})
    forget_declarations()
    sold("Grey sofa", "Grey couch", "Grey chaise longue", "Grey chair")
    for text in ("grey sofa", "grey couch", "grey chaise longue"):
        assert set(proven(text)) == {"Grey sofa", "Grey couch", "Grey chaise longue"}, text


# Typos, beginnings, words that are nowhere


def test_a_misspelt_word_is_corrected_and_it_says_so(sold):
    sold("Red teapot", "Blue teapot", "Red kettle")
    results = ProductDocument.search("red teapto")
    assert [product.name for product in results] == ["Red teapot"]
    assert (results.corrected, results.dropped) == ("red teapot", ())
    assert results.filter(price__gt=5).corrected == "red teapot"
    assert ProductDocument.search("red teapot").corrected == ""


def test_the_last_word_may_be_a_beginning(sold):
    sold("Red teapot", "Red kettle", "Blue teapot")
    assert names("red tea") == names("red teap") == ["Red teapot"]
    assert names("tea red") == []  # only the last one
    assert ProductDocument.search("red teap").corrected == ""


def test_a_word_that_is_nowhere_is_left_out_if_three_quarters_remain(sold):
    sold("Large red teapot", "Red kettle", "Large vase")
    results = ProductDocument.search("large red zzzzzz teapot")
    assert ([product.name for product in results], results.dropped) == (["Large red teapot"], ("zzzzzz",))
    for text in ("red zzzzzz", "red zzzzzz teapot", "large red zzzzzz qqqqqq teapot"):
        results = ProductDocument.search(text)
        assert (list(results), results.dropped) == ([], ()), text


# Nothing


def test_if_nothing_is_proven_nothing_is_found(mugs):
    results = ProductDocument.search("asdfgh")
    assert (results.count(), len(results), list(results), list(results.hits())) == (0, 0, [], [])
    assert (bool(results), results.exists(), results.first(), list(results[:24])) == (False, False, None, [])
    assert results.facets("category") == {"category": []}
    assert list(results.order_by("price")) == []


def test_the_closest_are_shown_only_if_nothing_is_found(document):
    make(f"{colour} {thing}" for colour in COLOURS for thing in ("mug", "vase", "bowl"))
    index(document)
    results = ProductDocument.search("red asdfgh")
    assert results.count() == 0
    assert len(list(results.closest)) == results.closest.count() == 12
    assert [product.name.split()[0] for product in results.closest[:3]] == ["red"] * 3
    assert {hit.basis for hit in results.closest.hits()} == {"meaning"}
    assert list(ProductDocument.search("red").closest) == []
    assert list(ProductDocument.search("red").filter(price__gt=10).closest) == []
    assert list(ProductDocument.search("").closest) == []
    assert list(ProductDocument.search_by_image(picture_bytes()).closest) == []


def test_the_closest_meet_the_filters_and_the_exclusions(document):
    products = make(f"{colour} {thing}" for colour in COLOURS for thing in ("mug", "vase"))
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    Product.objects.filter(name__contains="vase").update(category=kitchen)
    index(document)
    results = ProductDocument.search("red asdfgh -blue").filter(category="kitchen")
    assert results.closest[0].name == "red vase"
    assert {product.name for product in results.closest} == {f"{c} vase" for c in COLOURS if c != "blue"}
    assert len(products) == 12
    ordered = ProductDocument.search("red asdfgh").order_by("price").closest
    assert list(ordered.hits()) == list(ProductDocument.search("red asdfgh").closest.hits())


# The whole shop


def test_everything_ranks_the_whole_shop(mugs):
    results = ProductDocument.search("red mug", everything=True)
    assert results.count() == len(list(results)) == 7
    found = list(results.hits(with_rows=True))
    assert [hit.basis for hit in found] == ["exact", "words", "words", *["meaning"] * 4]
    assert ProductDocument.search("asdfgh", everything=True).count() == 7
    assert (results.corrected, results.dropped, list(results.closest)) == ("", (), [])


def test_a_document_may_rank_everything_by_default(mugs, monkeypatch):
    monkeypatch.setattr(ProductDocument, "everything", True)
    assert ProductDocument.search("asdfgh").count() == 7
    assert ProductDocument.search("asdfgh", everything=False).count() == 0


def test_a_word_that_the_model_knows_is_not_corrected(sold, monkeypatch):
    sold("Great mug", "While we sleep", "Red teapot")
    assert ProductDocument.search("whife mug").corrected == ""
    assert names("greay mug") == ["Great mug"]
    monkeypatch.setattr(HashingEncoder, "knows", lambda self, word: word == "greay", raising=False)
    results = ProductDocument.search("greay mug")
    assert (results.corrected, list(results)) == ("", [])
    assert results.closest


def test_the_closest_have_the_lowest_score_too(mugs):
    assert len(ProductDocument.search("asdfgh").closest) == len(mugs)
    assert len(ProductDocument.search("asdfgh", min_score=0.99).closest) == 0


def test_a_query_that_finds_nothing_is_read_as_it_was_typed(sold):
    sold("Red mug", "Blue striped vase")
    results = ProductDocument.search("blue striped beaker mug")
    assert (list(results), results.dropped, results.corrected) == ([], (), "")


def test_a_corrected_query_is_ranked_by_its_correction(sold, document, monkeypatch):
    sold("Red teapot", "Blue vase")
    embedded = []
    embed = HashingEncoder.embed_texts
    monkeypatch.setattr(HashingEncoder, "embed_texts", lambda self, t: embedded.extend(t) or embed(self, t))
    assert names("red teapto") == ["Red teapot"]
    assert embedded == ["a photo of red teapto", "a photo of red teapot"]


def test_the_typed_word_comes_before_its_synonym(sold, monkeypatch):
    monkeypatch.setattr(ProductDocument, "synonyms", {"mug": ["cup"]})
    sold(*["Red mug"] * 1, *[f"Mug {n}" for n in range(20)], "Red cup")
    assert names("red mug")[:2] == ["Red mug", "Red cup"]


def test_a_photo_with_words_ranks_images_by_the_sum_of_both(document):
    with_pictures(make(["mug one", "mug two", "mug three"]), ["red", "blue", "green"])
    make(["blue mug without an image"])
    index(document)
    results = ProductDocument.search("in blue", image=picture_bytes("red"))
    assert [product.name for product in results][2:] == ["mug three"]
    assert {hit.basis for hit in results.hits()} == {"meaning"}
    for weights, first in (({"photo": 1000}, "mug one"), ({"words": 1000}, "mug two")):
        weighted = ProductDocument.search("in blue", image=picture_bytes("red"), weights=weights)
        assert weighted[0].name == first
    assert ProductDocument.search("", image=picture_bytes("red")).count() == 3


def test_a_lowest_score_cuts_what_the_words_find(document):
    make(["red mug", "red mug with a very long name and many more words", "red mug with a lid"])
    index(document)
    results = ProductDocument.search("a red mug")
    everything = list(results.hits())
    near = ProductDocument.search("a red mug", min_score=0.5)
    assert 0 < near.count() == len(list(near)) < len(everything) == 3
    assert ProductDocument.search("a red mug", min_score=-1).count() == 3
    assert ProductDocument.search("a red mug", min_score=1).count() == 0
    whole = ProductDocument.search("a red mug", min_score=0.5, everything=True)
    assert {hit.product_id for hit in whole.hits()} == {hit.product_id for hit in near.hits()}


def test_a_collection_of_an_earlier_version_ranks_the_whole_shop(mugs):
    Collection.objects.update(has_words=False)
    results = ProductDocument.search("red mug")
    assert results.count() == 7
    assert [hit.basis for hit in results.hits()] == ["exact", *["meaning"] * 6]
    assert ProductDocument.search("asdfgh").count() == 7


# What shoppers type by mistake


@pytest.mark.parametrize(
    "text",
    [
        '"red mug',
        'red mug"',
        '"red" "mug',
        '""',
        '"',
        "-",
        "--",
        '-"',
        "the of and",
        "the",
        '"the"',
        "!!! ???",
        "\ud800",
        "a\x00b",
        "💡",
        "red 💡 mug",
        "مرحبا",
        "\u202ered mug\u202c",
        "“'\"\\",
        "word " * 200,
        "red mug " * 200,
        "x" * 10_000,
        "x-" * 5_000,
        "-x " * 3_000,
        '"a b" ' * 2_000,
        "1/2/" * 2_000,
    ],
)
def test_every_text_has_an_answer(mugs, text):
    results = ProductDocument.search(text)
    with results.session():
        assert len(list(results)) == results.count() <= 7
        assert len(list(results.closest)) <= 12
        assert results.facets("category", "price").keys() == {"category", "price"}
        assert len(list(results.order_by("price"))) == results.count()
        assert isinstance(results.corrected, str) and isinstance(results.dropped, tuple)
    assert ProductDocument.search(text, everything=True).count() >= results.count()


@pytest.mark.parametrize("text", ['"red mug', 'red mug"', "red 💡 mug", "\u202ered mug\u202c"])
def test_what_is_no_operator_is_left_out(mugs, text):
    assert set(names(text)) == {"Red mug", "Red mug with a lid", "Large mug in red"}


def test_stop_words_alone_are_words(sold):
    sold("The Who", "The The", "Mug")
    assert names("the who")[0] == "The Who"
    assert names("the the")[0] == "The The"


# Requests


def test_what_is_found_is_decided_once_for_all_that_a_page_shows(mugs, monkeypatch):
    asked: list[int] = []
    rank = get_store().rank
    monkeypatch.setattr(get_store(), "rank", lambda name, q: asked.append(len(q)) or rank(name, q))
    results = ProductDocument.search("red mug")
    with results.session():
        assert len(list(results[:24])) == results.count() == 3
        assert counted(results, "category") == {}
        assert (results.corrected, results.dropped) == ("", ())
    assert len(asked) == 2  # those that have the words, and then those that may be as near in meaning


def test_ranked_by_words_alone_all_that_have_the_word_come_before_the_others(sold):
    sold("Mug mug", *["Mug"] * 130, *["Lamp"] * 5)
    found = names("mug", everything=True, weights={"text": 0, "image": 0})
    assert (len(found), set(found[-5:])) == (136, {"Lamp"})


def test_with_numbers_or_few_products_nothing_else_is_ranked(sold, monkeypatch):
    sold("Red mug 250 ml", "Blue mug 250 ml", "Mug 250 ml", "Red vase")
    asked: list[int] = []
    rank = get_store().rank
    monkeypatch.setattr(get_store(), "rank", lambda name, q: asked.append(len(q)) or rank(name, q))
    assert names("mug 250 ml") and names("red vase")
    assert len(asked) == 2


def test_under_a_filter_the_corrected_words_are_compared_too(sold):
    sold("Teapot", "Red teapot", "Blue teapot")
    results = ProductDocument.search("teapto", min_score=0.5)
    assert results.corrected == "teapot"
    assert [product.name for product in results] == ["Teapot"]
    filtered = ProductDocument.search("teapto", min_score=0.5, filters={"in_stock": True})
    assert [product.name for product in filtered] == ["Teapot"]


@pytest.mark.parametrize("text", ["red mug", "N-001"])
def test_a_ranking_of_the_shop_by_images_alone_has_only_what_has_an_image(sold, text):
    products = sold("red mug", "red mug with a lid", "red cup", "blue mug", "large red mug", "vase")
    with_pictures(products[3:], ["red", "blue", "green"])
    index(ProductDocument.search("").document)
    results = ProductDocument.search(text, everything=True, weights={"text": 0, "words": 0})
    assert {hit.instance for hit in results.hits(with_rows=True)} == set(products[3:])
    assert (results.count(), len({*results.order_by("price")})) == (3, 3)


def test_the_search_for_corrections_stops_when_too_little_would_remain(mugs, monkeypatch):
    corrected, corrections = [], Vocabulary.corrections
    monkeypatch.setattr(
        Vocabulary,
        "corrections",
        lambda self, word, limit: corrected.append(word) or corrections(self, word, limit),
    )
    results = ProductDocument.search(" ".join(f"qqqqqqqq{chr(97 + n)}" for n in range(20)))
    assert (results.count(), len(corrected)) == (0, 6)


def test_what_is_named_in_passing_is_left_out_only_if_all_are_ranked(sold):
    accessory = " ".join(["goes well with", *(f"thing{n}" for n in range(150)), "and our red mug"])
    sold(*(f"Red mug {n}" for n in range(20)))
    lamps = make((f"Lamp {n}" for n in range(120)), description=accessory)
    index(ProductDocument.search("").document, lamps[:60])
    assert ProductDocument.search("red mug").count() == 20
    index(ProductDocument.search("").document, lamps[60:])
    assert ProductDocument.search("red mug").count() == 140  # not 120: the far ones without the nearer ones


def test_if_only_words_count_and_there_are_none_the_shop_is_shown(mugs):
    weights = {"text": 0, "image": 0}
    assert ProductDocument.search("!", everything=True, weights=weights).count() == len(mugs)
    Collection.objects.update(has_words=False)
    results = ProductDocument.search("red mug", weights=weights)
    assert (results.count(), len(list(results))) == (len(mugs), len(mugs))
