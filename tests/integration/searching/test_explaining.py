"""Explanations of a search: how the query was read, and why a product is found or not."""

from __future__ import annotations

import pytest

from clip_search import outbox
from clip_search.exceptions import SearchUnavailable
from clip_search.models import Collection, IndexEntry, Word
from clip_search.searching import search
from clip_search.searching.explaining import explain
from clip_search.searching.finding import DEPTH
from clip_search.searching.fusing import fuse
from clip_search.searching.placing import weighted_ranking
from clip_search.stores.base import Rank
from clip_search.testing import pause_indexing
from clip_search.types import point_id
from tests.conftest import forget_declarations
from tests.shops.shop.models import Product

from .actions import COLOURS, THINGS, index, make, unpublish

pytestmark = pytest.mark.django_db


@pytest.fixture
def declared(document, monkeypatch):
    """Return a function that changes attributes of the document."""

    def change(**attributes: object) -> None:
        for name, value in attributes.items():
            monkeypatch.setattr(type(document.declaration), name, value)
        forget_declarations()

    return change


def test_it_shows_what_the_search_finds_in_the_same_order(any_store, document, shop):
    explained = explain(document, "red mug", limit=5)
    hits = list(search(document, "red mug").hits()[:5])
    assert [one.product_id for one in explained.products] == [hit.product_id for hit in hits]
    assert [one.basis for one in explained.products] == [hit.basis for hit in hits]
    assert [one.relevance for one in explained.products] == [hit.relevance for hit in hits]
    assert explained.count == search(document, "red mug").count()
    assert (explained.products[0].rank, explained.products[0].name) == (1, "red mug")


def test_its_rankings_are_those_that_are_merged(any_store, document, shop):
    explained = explain(document, "mug", limit=10, weights={"words": 2})
    by_words = [one for one in explained.products if one.basis == "words"]
    assert len(by_words) == 6
    rankings = []
    for name in ("words", "text", "image"):
        have = [one for one in by_words if name in one.rankings]
        have.sort(key=lambda one: one.rankings[name].rank)
        ranked = [Rank(point_id("product", one.product_id), one.rankings[name].score) for one in have]
        rankings.append(weighted_ranking(explained.weights[name], name, ranked, ()))
    merged = fuse(rankings)
    expected = {one.product_id: merged[point_id("product", one.product_id)] for one in by_words}
    assert {one.product_id: one.relevance for one in by_words} == pytest.approx(expected)


def test_the_words_of_a_product_add_up_to_its_score(any_store, document, shop):
    first = explain(document, "red mug").products[0]
    spellings = [("red", ("red", "redmug")), ("mug", ("mug", "redmug"))]
    assert [(word.text, word.spellings) for word in first.words] == spellings
    assert all(word.weight > 0 for word in first.words)
    assert sum(word.weight for word in first.words) == pytest.approx(first.rankings["words"].score, rel=1e-3)


def test_it_names_the_exact_value_that_was_typed(document, shop):
    first = explain(document, "SKU-0007 red").products[0]
    assert (first.basis, first.exact) == ("exact", ("SKU-0007",))


def test_it_says_how_the_query_was_read(document, shop, declared):
    declared(synonyms={"mug": ["beaker"]}, stop_words=["cheap"])
    read = explain(document, 'the cheap mugs "red mug" -blue').reading
    assert [(word.text, word.is_phrase) for word in read.words] == [("mugs", False), ("red mug", True)]
    assert read.words[0].synonyms == ("beaker",)
    assert read.excluded == ("blue",)
    assert read.ignored == ("the", "cheap")
    assert read.meaning == "the cheap mugs red mug"


def test_it_says_what_was_corrected_and_left_out(document, shop):
    Word.objects.add(document, {*COLOURS, *THINGS})
    with_typo = explain(document, "yelow towel")
    assert with_typo.reading.corrected == "yellow towel"
    assert with_typo.products[0].name == "yellow towel"
    dropped = explain(document, "red mug 4711 mug").reading
    assert (dropped.dropped, [word.text for word in dropped.words]) == (("4711",), ["red", "mug", "mug"])


def test_what_is_found_for_its_meaning_reaches_what_is_needed(any_store, document):
    made = make([*(f"mug {number} {number + 1}" for number in (20, 30, 40, 50)), "photo", "lamp"])
    index(document)
    explained = explain(document, "mug", product_id=str(made[-1].pk))
    assert [one.basis for one in explained.products] == ["words"] * 4 + ["meaning"]
    added = explained.products[-1].rankings["text"]
    assert (explained.products[-1].name, added.rank) == ("photo", 1)
    assert explained.product.rankings["text"].score < added.needed <= added.score
    assert explained.products[0].rankings["words"].needed is None


def test_with_as_many_products_as_are_ranked_meaning_adds_none_and_it_says_so(document):
    made = make([*(f"mug {number}" for number in range(DEPTH)), "photo"])
    index(document)
    explained = explain(document, "mug", product_id=str(made[-1].pk))
    assert explained.count == DEPTH
    assert explained.product.notes == (
        "It lacks: mug.",
        f"Meaning adds products only if fewer than {DEPTH} have all words.",
    )
    assert explained.product.rankings["text"].needed is None


def test_a_product_that_only_mentions_the_words_is_told_why_it_is_left_out(any_store, document):
    made = make(["red mug", "red mug", "mug in red"])
    mentions = "It goes well with our red mug, or with any other. "
    chair = Product.objects.create(name="chair", sku="CHAIR", description=f"{'A chair. ' * 200} {mentions}")
    index(document)
    explained = explain(document, "mug red", product_id=str(chair.pk))
    assert (explained.count, explained.product.is_found) == (len(made), False)
    assert explained.product.notes[0].startswith("It has all words, but others have them with more weight")


def test_nothing_found_shows_the_closest_without_ranks(document, shop):
    explained = explain(document, "asdfgh", limit=3)
    assert (explained.count, explained.are_closest, len(explained.products)) == (0, True, 3)
    assert [(one.is_found, one.rank, one.basis) for one in explained.products] == [
        (False, None, "meaning")
    ] * 3
    assert explained.products[0].rankings["text"].rank is not None


def test_the_whole_shop_is_ranked_if_asked(document, shop):
    explained = explain(document, "red mug", everything=True, product_id=str(shop[-1].pk))
    assert (explained.is_whole_shop, explained.count) == (True, 60)
    assert explained.product.is_found
    assert explained.product.basis == "meaning"
    assert [word.spellings for word in explained.product.words] == [(), ()]


def test_a_found_product_has_its_rank_and_evidence(any_store, document, shop):
    explained = explain(document, "mug", limit=2, product_id=str(shop[4].pk))
    found = explained.product
    rows = [row.pk for row in search(document, "mug")]
    assert (found.is_found, found.basis, found.rank) == (True, "words", rows.index(shop[4].pk) + 1)
    assert found.notes == ()


def test_a_product_that_lacks_words_is_told_from_what_it_needs(any_store, document, shop):
    lamp = next(product for product in shop if product.name == "blue lamp")
    notes = explain(document, "red mug", product_id=str(lamp.pk)).product.notes
    assert notes[0] == "It lacks: red, mug."
    assert notes[1] == "Meaning adds products only if at least 3 have all words; here 1 have."
    notes = explain(document, "mug", product_id=str(lamp.pk)).product.notes
    assert notes[0] == "It lacks: mug."
    assert notes[1].startswith("The cosine of its text is 0.")
    assert "it needs" in notes[1]


def test_filters_and_exclusions_that_keep_a_product_out_are_named(any_store, document, shop):
    red = str(shop[0].pk)
    assert (
        "It has “red”, which the query excludes."
        in explain(document, "mug -red", product_id=red).product.notes
    )
    explained = explain(document, "mug", filters={"price__gte": 5, "in_stock": True}, product_id=red)
    assert explained.product.notes == ("It does not meet the filter price__gte=5.",)
    assert explained.count == 0
    lamp = str(shop[18].pk)
    notes = explain(document, "mug -red", filters={"price": 5}, product_id=lamp).product.notes
    assert [note.split(":")[0].split(" ")[1] for note in notes] == ["has", "does", "lacks"]


def test_a_score_that_no_vector_reaches_is_named(document, shop):
    notes = explain(document, "mug", min_score=0.9, product_id=str(shop[0].pk)).product.notes
    assert notes == ("Neither its text nor its image reaches the score 0.9.",)


def test_meaning_adds_nothing_to_numbers_and_phrases(document, shop):
    notes = explain(document, '"red mug"', product_id=str(shop[1].pk)).product.notes
    assert notes == ("It lacks: red mug.", "Meaning adds no products to a query with a number or a phrase.")


def test_the_index_entry_says_why_a_product_is_not_there(document, shop):
    def notes(product_id) -> str:
        (note,) = explain(document, "red mug", product_id=str(product_id)).product.notes
        return note

    with pause_indexing():
        new = Product.objects.create(name="red mug", sku="NEW")
    assert notes(new.pk) == "It was never indexed. Run `manage.py clip_reindex`."
    outbox.schedule(document, [str(new.pk)], wake=False)
    assert notes(new.pk).startswith("It waits to be indexed")
    IndexEntry.objects.filter(product_id=new.pk).update(state="failed", error="Its price is text.")
    assert notes(new.pk) == "It could not be indexed: Its price is text."
    unpublish(shop[:1])
    index(document, shop[:1])
    assert notes(shop[0].pk).startswith("It was removed from the index")
    IndexEntry.objects.filter(product_id=new.pk).update(state="indexed")
    assert notes(new.pk) == "The index has lost it. Run `manage.py clip_verify`."


def test_a_found_product_whose_last_change_waits_says_so(document, shop):
    outbox.schedule(document, [str(shop[0].pk)], wake=False)
    product = explain(document, "red mug", product_id=str(shop[0].pk)).product
    assert product.is_found
    assert product.notes[0].startswith("It waits to be indexed")


@pytest.mark.parametrize("text", ["", " ", "-", '"', "-red", "the", "🫖", "א" * 300, "x " * 200, '"red mug'])
def test_odd_queries_are_explained(document, few, text):
    explained = explain(document, text, product_id="no such id")
    assert explained.product is not None
    assert len(explained.products) <= 10


def test_an_index_without_words_ranks_the_whole_shop(document, few):
    Collection.objects.update(has_words=False)
    explained = explain(document, "red mug", product_id=str(few[0].pk))
    assert explained.is_whole_shop
    assert "words" not in explained.product.rankings


def test_it_is_unavailable_as_a_search_is(document, few):
    Collection.objects.update(fingerprint="another")
    with pytest.raises(SearchUnavailable):
        explain(document, "red mug")
