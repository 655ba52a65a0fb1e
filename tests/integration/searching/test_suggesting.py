"""What is suggested while a shopper types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from clip_search import SearchUnavailable
from clip_search.documents.words import analyser
from clip_search.models import Collection, Word
from clip_search.searching.suggesting import CATEGORY_SECONDS, Categories
from clip_search.stores import get_store
from clip_search.testing import reset
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product, Tag

from .actions import index, post, unpublish

pytestmark = pytest.mark.django_db

NAMES = (
    *("Red mug", "Red mug with handle", "Blue mug", "Blue mule", "Red museum print", "Green teapot"),
    *("White t-shirt", "Pan XR-4200/2", "Red kettle", "Red music box"),
)


def count_words(document) -> None:
    """Count the words of all products, as the nightly run does."""
    counts: Counter[str] = Counter()
    for row in Product.objects.all():
        counts.update(analyser("en").words_of([(row.name, 1.0)]).vocabulary)
    Word.objects.replace(document, counts)
    reset_memory()


def reset_memory() -> None:
    """Forget what this process knows, but not what the store has in memory."""
    from clip_search.searching.suggesting import reset_categories
    from clip_search.searching.vocabulary import reset_vocabularies

    reset_vocabularies()
    reset_categories()


@pytest.fixture
def wares(document) -> list[Product]:
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    kits = Category.objects.create(name="Kits", slug="kits")
    products = Product.objects.bulk_create(
        Product(name=name, sku=f"SKU-{number:04d}", category=kits if number > 7 else kitchen)
        for number, name in enumerate(NAMES)
    )
    products[0].tags.add(Tag.objects.create(name="handmade in Kyoto"))
    index(document)
    count_words(document)
    return products


def names(text: str, **options: int) -> list[str]:
    return [hit.instance.name for hit in ProductDocument.suggest(text, **options).products]


def queries(text: str, **options: int) -> tuple[str, ...]:
    return ProductDocument.suggest(text, **options).queries


def test_the_last_word_is_completed_if_a_product_has_all_words(any_store, wares):
    assert queries("mu") == ("mug", "mule", "music", "museum")
    assert set(queries("Red mu")) == {"Red mug", "Red museum", "Red music"}
    assert queries("green mu") == ()
    assert queries("blue  mul") == ("blue mule",)
    assert queries("", limit=8) == ()


@pytest.mark.usefixtures("wares")
class TestQueries:
    def test_limit_is_the_most_of_each_list(self):
        assert len(queries("mu", limit=2)) == len(names("mu", limit=2)) == 2
        assert ProductDocument.suggest("mu", limit=0) == ProductDocument.suggest("")
        assert len(queries("mu", limit=10_000)) == 4

    def test_what_was_typed_is_not_suggested(self):
        assert queries("mug") == queries("red mug") == ()
        assert names("red mug") == ["Red mug", "Red mug with handle"]

    @pytest.mark.parametrize(
        ("typed", "meant"),
        [("teapto", "teapot"), ("green teapto", "green teapot"), ("red ketle", "red kettle")],
    )
    def test_a_typo_is_corrected_if_nothing_begins_so(self, typed, meant):
        assert queries(typed) == (meant,)
        assert names(typed) == [meant.title() if " " in meant else "Green teapot"] or names(typed)

    def test_a_beginning_is_not_corrected(self):
        assert "teapot" in queries("teap")
        assert queries("museu") == ("museum",)

    def test_spellings_of_compounds_are_completed(self):
        assert queries("t-shi") == ("t-shirt",)
        assert queries("tshi") == ("tshirt",)

    def test_codes_with_separators_find_products_only(self):
        assert queries("xr-42") == ()
        assert names("xr-42") == names("pan xr-42") == ["Pan XR-4200/2"]

    def test_operators_are_kept(self):
        assert set(queries('"red mu')) == {'"red mug', '"red museum', '"red music'}
        assert set(queries("-blue mu")) == {"-blue mug", "-blue museum", "-blue music"}
        assert queries("mug -bl") == ()

    def test_a_vocabulary_with_words_that_no_product_has_suggests_none_of_them(self, document):
        Word.objects.replace(document, {"mug": 3, "mustard": 900})
        reset_memory()
        assert queries("mu") == ("mug",)


@pytest.mark.usefixtures("wares")
class TestProducts:
    def test_names_that_begin_with_the_text_come_first(self):
        assert names("red mug w")[0] == names("red mug wi")[0] == "Red mug with handle"
        assert names("red")[0].startswith("Red")

    def test_the_first_letter_of_the_last_word_changes_nothing(self):
        assert set(names("red m")) == set(names("red"))
        assert names("red m")[-1] == "Red kettle"

    def test_a_code_is_found_by_its_beginning(self, wares):
        hits = ProductDocument.suggest("sku-000").products
        assert len(hits) == 8
        assert {hit.product_id for hit in hits} <= {str(row.pk) for row in wares}
        assert names("SKU-0003") == ["Blue mule"]

    def test_hits_have_rows(self, wares):
        hit = ProductDocument.suggest("blue mul").products[0]
        assert (hit.product_id, hit.instance, hit.basis) == (str(wares[3].pk), wares[3], "words")

    def test_unpublished_products_are_left_out(self, wares):
        unpublish(wares[3:4])
        assert names("blue mul") == []

    def test_posted_products_have_their_name_in_the_payload(self, document):
        post(document, "extra-1", "Blue mullein")
        count_words(document)
        hits = ProductDocument.suggest("blue mul").products
        assert {hit.product_id: hit.payload for hit in hits if hit.instance is None} == {}
        Word.objects.add(document, ["mullein"])
        reset_memory()
        hits = ProductDocument.suggest("blue mul").products
        assert {hit.product_id: hit.payload for hit in hits if hit.instance is None} == {
            "extra-1": {"name": "Blue mullein"}
        }


@pytest.mark.usefixtures("wares")
class TestCategories:
    def test_values_with_words_that_begin_so_are_suggested(self):
        found = ProductDocument.suggest("kit").categories
        assert [(one.filter, one.value, one.count) for one in found] == [
            ("category", "kitchen", 8),
            ("category", "kits", 2),
        ]
        assert [one.value for one in ProductDocument.suggest("handmade ky").categories] == [
            "handmade in Kyoto"
        ]
        assert ProductDocument.suggest("kit mug").categories == ()

    def test_filters_with_many_values_are_no_categories(self, monkeypatch):
        monkeypatch.setattr("clip_search.searching.suggesting.MOST_CATEGORIES", 1)
        assert ProductDocument.suggest("kit").categories == ()
        assert ProductDocument.suggest("handmade").categories

    def test_they_are_read_once_a_minute(self, document, monkeypatch):
        now = [0.0]
        monkeypatch.setattr("clip_search.searching.suggesting._categories", Categories(lambda: now[0]))
        assert ProductDocument.suggest("kit").categories
        Product.objects.update(category=None)
        index(document)
        now[0] = CATEGORY_SECONDS - 1
        assert ProductDocument.suggest("kit").categories
        now[0] = CATEGORY_SECONDS
        assert ProductDocument.suggest("kit").categories == ()


def test_no_model_is_asked_and_the_store_once(any_store, wares, monkeypatch, configured):
    reset_memory()
    ProductDocument.suggest("kit")
    configured(ENCODER="tests.doubles.encoders.MissingEncoder")
    store, asked = get_store(), []

    def counted(name: str) -> Callable[..., object]:
        method = getattr(store, name)
        return lambda *args, **kwargs: asked.append(name) or method(*args, **kwargs)

    for name in ("rank", "query", "facet", "count", "get", "values", "scroll", "exists"):
        monkeypatch.setattr(store, name, counted(name))
    assert ProductDocument.suggest("red mu").products
    assert ProductDocument.suggest("kit").categories
    assert asked == ["rank", "rank"]


@pytest.mark.usefixtures("wares")
class TestAnyText:
    @pytest.mark.parametrize(
        "text",
        [
            *("", " ", "-", '"', '""', '" "', "- -", "\U0001fad6", "\u2764\ufe0f mu", "'", "a", "\ud800"),
            *(
                "mug " * 2500,
                "x" * 10_000,
                " ".join(f"w{n}" for n in range(60)),
                "the",
                "3.5",
                "%",
                "\x00 mu",
            ),
            *("קומקום", "मग", "红色 杯", "-red", '"red', "^mug", "mug.", "t-", "+", "c+"),
        ],
    )
    def test_every_text_has_an_answer(self, text):
        found = ProductDocument.suggest(text)
        assert len(found.queries) <= 8 and len(found.products) <= 8

    def test_what_is_no_text_is_refused(self):
        with pytest.raises(TypeError, match="Suggest for a string, not for NoneType"):
            ProductDocument.suggest(None)


def test_an_index_without_words_suggests_categories_only(wares, document):
    Collection.objects.of(document).update(has_words=False)
    found = ProductDocument.suggest("kit")
    assert found.categories and not found.queries and not found.products


def test_without_an_index_search_is_unavailable():
    with pytest.raises(SearchUnavailable, match="clip_reindex"):
        ProductDocument.suggest("mu")


def test_reset_forgets_the_categories(wares):
    assert ProductDocument.suggest("kit").categories
    reset()
    from clip_search.searching import suggesting

    assert suggesting._categories._kept == {}
