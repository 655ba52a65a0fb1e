"""`order_by()` and `facets()` of results: what they promise together with filters, slices and pages."""

from __future__ import annotations

from itertools import pairwise

import pytest

from clip_search.stores import get_store
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product

from .actions import COLOURS, THINGS, counted, index, keys, make, post, with_pictures

pytestmark = pytest.mark.django_db


@pytest.fixture
def priced(any_store, document) -> list[Product]:
    """Thirty red products of five prices in two categories, and thirty blue ones."""
    products = make(f"{colour} {thing} {n}" for n in range(3) for thing in THINGS for colour in COLOURS[:2])
    categories = [Category.objects.create(name=slug, slug=slug) for slug in ("kitchen", "bath")]
    for number, product in enumerate(products):
        product.price, product.category = (number * 7) % 5, categories[number % 3 % 2]
    Product.objects.bulk_update(products, ["price", "category"])
    with_pictures(products[:20], COLOURS[:2] * 10)
    index(document)
    return products


def test_results_are_sorted_among_what_is_found_and_page_without_repeats(priced):
    results = ProductDocument.search("red").order_by("price")
    with results.session():
        whole = list(results)
        seen = [key for start in range(0, 40, 7) for key in keys(results[start : start + 7])]
    assert seen == keys(whole)
    assert len(set(seen)) == len(seen) == results.count() == 30
    assert [product.price for product in whole] == sorted(product.price for product in whole)
    assert all("red" in product.name for product in whole)
    down = list(results.order_by("-price"))
    assert [product.price for product in down] == sorted((p.price for p in whole), reverse=True)


def test_equal_products_are_sorted_by_relevance(priced):
    by_relevance = keys(ProductDocument.search("red mug", everything=True))
    ranks = {key: rank for rank, key in enumerate(by_relevance)}
    for product, after in pairs(ProductDocument.search("red mug", everything=True).order_by("price")):
        assert (product.price, ranks[product.pk]) < (after.price, ranks[after.pk])
    results = ProductDocument.search("red mug", everything=True)
    assert keys(results.order_by("relevance")) == by_relevance
    assert keys(results.order_by("price").order_by()) == by_relevance


def pairs(results):
    rows = list(results)
    return pairwise(rows)


def test_order_and_filters_may_come_in_any_order(priced):
    expected = keys(ProductDocument.search("red").filter(price__gte=2).order_by("-price", "category"))
    assert keys(ProductDocument.search("red").order_by("-price", "category").filter(price__gte=2)) == expected
    hits = ProductDocument.search("red").order_by("-price", "category").filter(price__gte=2).hits()
    assert [int(hit.product_id) for hit in hits] == expected
    assert [int(hit.product_id) for hit in hits[3:9]] == expected[3:9]


def test_a_sorted_hit_keeps_its_relevance(priced):
    relevant = {hit.product_id: hit for hit in ProductDocument.search("red").hits()}
    assert {hit.product_id: hit for hit in ProductDocument.search("red").order_by("price").hits()} == relevant


@pytest.mark.parametrize("by", ["photo", "product", "no words", "a lowest score"])
def test_every_search_can_be_sorted(priced, by):
    results = {
        "photo": lambda: ProductDocument.search_by_image(picture_bytes("red")),
        "product": lambda: ProductDocument.similar_to(priced[0]),
        "no words": lambda: ProductDocument.search(""),
        "a lowest score": lambda: ProductDocument.search("red", min_score=0.3),
    }[by]()
    down = list(results.order_by("-price"))
    assert set(keys(down)) == set(keys(results))
    assert len(down) == results.count() >= 10
    assert [product.price for product in down] == sorted((p.price for p in down), reverse=True)


def test_posted_products_are_sorted_among_the_hits(priced, document):
    post(document, "P-1", "a red thing", price=2.5)
    hits = ProductDocument.search("red").order_by("price").hits()
    prices = [hit.payload["price"] for hit in hits]
    assert prices == sorted(prices)
    assert 2.5 in prices
    assert 2.5 not in [product.price for product in ProductDocument.search("red").order_by("price")]


@pytest.mark.parametrize("window", [slice(0, 5), slice(5, None), slice(5, 10), slice(0, 0)])
def test_what_is_sliced_cannot_be_sorted(window):
    with pytest.raises(TypeError, match="Cannot reorder results once a slice has been taken"):
        ProductDocument.search("mug")[window].order_by("price")


def test_nothing_is_asked_before_sorted_results_are_used(django_assert_num_queries):
    with django_assert_num_queries(0):
        ProductDocument.search("mug").order_by("price").filter(price=1)


def test_the_values_are_read_once_for_all_pages(priced, monkeypatch):
    results, asked = ProductDocument.search("red").order_by("price"), []
    values = get_store().values
    monkeypatch.setattr(get_store(), "values", lambda *a, **k: asked.append(a) or values(*a, **k))
    assert [keys(results[start : start + 10]) for start in (0, 10, 20)]
    assert len(asked) == 1


def test_a_facet_is_counted_without_its_own_filter_and_the_others_with_it(priced):
    red = [product for product in priced if "red" in product.name]
    results = ProductDocument.search("red").filter(category="bath", price__lte=2)
    facets = results.facets("category", price=[1, 3])
    assert {each.value: each.count for each in facets["category"]} == {
        slug: sum(p.price <= 2 and p.category.slug == slug for p in red) for slug in ("kitchen", "bath")
    }
    assert [each.value for each in facets["category"] if each.chosen] == ["bath"]
    assert [each.count for each in facets["price"]] == [
        sum(p.category.slug == "bath" and low <= p.price < high for p in red)
        for low, high in ((0, 1), (1, 3), (3, 5))
    ]
    excluded = ProductDocument.search("red").exclude(category="bath")
    assert counted(excluded, "category") == {"kitchen": excluded.count()}


def test_a_facet_without_its_own_filter_respects_a_lowest_score(priced):
    results = ProductDocument.search("red", min_score=0.4)
    assert 0 < results.count() < 30
    assert counted(results.filter(category="bath"), "category") == counted(results, "category")


@pytest.mark.parametrize("narrow", [{}, {"category": "bath"}])
def test_where_nothing_is_found_each_facet_is_empty(priced, narrow):
    results = ProductDocument.search("asdfgh").filter(**narrow)
    assert results.facets("category", price=[1]) == {"category": [], "price": []}


def test_all_filters_are_counted_if_none_is_named(priced):
    assert list(ProductDocument.search("red").facets()) == [
        "category",
        "tag",
        "price",
        "in_stock",
        "released",
    ]
