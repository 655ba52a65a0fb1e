"""Filters and facets."""

from __future__ import annotations

import datetime
import io
import random
from decimal import Decimal

import pytest
from django.core.management import call_command

from clip_search import Keyword, SearchUnavailable, searching
from clip_search.exceptions import BadFilterValue, UnknownFilter
from clip_search.models import Collection
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product

from .actions import COLOURS, counted, index, make, with_pictures
from .random_shop import brute_force, random_filters, random_shop

pytestmark = pytest.mark.django_db


def test_five_hundred_random_filters_equal_the_database(any_store, document):
    random_shop(document)
    rng = random.Random(2)
    found_something = 0
    with get_store().session(Collection.objects.get().name):
        for _ in range(500):
            filters = random_filters(document, rng)
            expected = brute_force(filters)
            results = ProductDocument.search("", filters=filters)
            assert {int(hit.product_id) for hit in results[:60].hits()} == expected, filters
            assert results.count() == len(expected), filters
            found_something += bool(expected)
    assert found_something > 150


def test_facets_count_under_the_filters(any_store, document):
    random_shop(document)
    for filters in ({}, {"in_stock": True}, {"price__lt": 10, "tag": "sale"}):
        results = ProductDocument.search("red mug", everything=True, filters=filters)
        for key, column in (("category", "category__slug"), ("tag", "tags__name")):
            without_own = {name: value for name, value in filters.items() if name != key}
            rows = Product.objects.filter(pk__in=brute_force(without_own))
            names = [name for name in rows.values_list(column, flat=True) if name]
            assert counted(results, key) == {name: names.count(name) for name in names}
    assert len(counted(ProductDocument.search("mug"), "category", limit=2)) == 2


def test_facets_count_what_is_found(any_store, document):
    products = make(f"{colour} mug" for colour in COLOURS)
    with_pictures(products[:2], COLOURS)
    Product.objects.update(category=Category.objects.create(name="Kitchen", slug="kitchen"))
    index(document)
    results = {
        "words": ProductDocument.search("a mug"),
        "pictures": ProductDocument.search("a mug", weights={"text": 0, "words": 0}, everything=True),
        "photo": ProductDocument.search_by_image(picture_bytes("blue")),
        "nothing": ProductDocument.search(""),
        "similar": ProductDocument.similar_to(products[0]),
        "similar to one without a picture": ProductDocument.similar_to(products[5]),
        "unknown": ProductDocument.similar_to("unknown"),
        "words of nothing": ProductDocument.search("asdfgh"),
    }
    counts = {by: counted(found, "category").get("kitchen", 0) for by, found in results.items()}
    assert counts == {by: found.count() for by, found in results.items()}
    assert list(counts.values()) == [6, 2, 2, 6, 5, 5, 0, 0]


def test_an_empty_value_is_no_facet(any_store, document, monkeypatch):
    with pause_indexing():
        for product, slug in zip(make(["mug"] * 6), ["", "", "", "a", "a", "b"], strict=True):
            product.category = Category.objects.create(name="c", slug=slug)
            product.save()
    index(document)
    assert counted(ProductDocument.search("a mug"), "category") == {"a": 2, "b": 1}
    assert counted(ProductDocument.search("a mug"), "category", limit=1) == {"a": 2}


@pytest.mark.parametrize("command", ["clip_reindex", "clip_verify"])
def test_a_filter_that_is_declared_later_gets_its_index(any_store, document, monkeypatch, command):
    make(["red mug", "blue mug"], description="acme")
    index(document)
    brand = {**document.declaration.filter_fields, "brand": Keyword("description")}
    monkeypatch.setattr(ProductDocument, "filter_fields", brand)
    if any_store == "embedded":  # qdrant-client's own engine counts without an index
        with pytest.raises(SearchUnavailable, match="clip_reindex"):
            counted(ProductDocument.search("mug"), "brand")
    made = []
    create = get_store().create
    monkeypatch.setattr(get_store(), "create", lambda name, s: made.append(s.filters) or create(name, s))
    call_command(command, "product", stdout=io.StringIO())
    assert [filters["brand"] for filters in made] == ["keyword"]
    assert counted(ProductDocument.search("mug"), "brand") == {"acme": 2}
    assert ProductDocument.search("mug", filters={"brand": "acme"}).count() == 2


def test_an_unknown_facet_or_order_lists_what_is_known(django_assert_num_queries):
    results = ProductDocument.search("mug")
    with django_assert_num_queries(0):
        with pytest.raises(UnknownFilter, match="Its filters: category, in_stock, price, released, tag"):
            results.facets("colour")
        with pytest.raises(UnknownFilter, match="by: category, in_stock, price, released, tag, relevance"):
            results.order_by("price", "-colour")
        with pytest.raises(BadFilterValue, match="'price' does not accept 'dear'"):
            results.facets(price="dear")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"colour": "red"}, "no filter 'colour'. Its filters: category, in_stock, price, released, tag"),
        ({"colour__in": ["red"]}, "no filter 'colour'"),
        ({"__lte": 1}, "no filter '__lte'"),
        ({"category__gt": "a"}, "no lookup 'gt'. Its lookups: exact, in, isnull"),
        ({"price__lte__gt": 1}, "no filter 'price__lte'"),
        ({"in_stock__in": [True]}, "no lookup 'in'"),
        ({"price": "dear"}, "'price' does not accept 'dear'"),
        ({"price": float("nan")}, "finite"),
        ({"price": 10**400}, "finite"),
        ({"price": Decimal("sNaN")}, "price"),
        ({"price": None}, "isnull"),
        ({"price": True}, "not a number"),
        ({"price": [1]}, "use the lookup in"),
        ({"price__in": 5}, "a list of values"),
        ({"category__in": "kitchen"}, "a list of values"),
        ({"category__in": [None]}, "isnull"),
        ({"category": Category(slug="a")}, "'category.slug'"),
        ({"category": "\ud800"}, "category"),
        ({"in_stock": "perhaps"}, "not true or false"),
        ({"tag__isnull": "perhaps"}, "not true or false"),
        ({"released": "soon"}, "released"),
        ({"released__lt": 5}, "not a date"),
        ({"released": "9999-12-31T23:59:59-23:59"}, "outside the range of dates in UTC"),
        ({"released__gte": "0001-01-01T00:00:00+23:59"}, "outside the range of dates in UTC"),
        ({"released__gte": "10000-01-01"}, "released"),
    ],
)
def test_filters_that_cannot_be_are_refused_at_once(filters, message):
    for search in (
        lambda: ProductDocument.search("mug", filters=filters),
        lambda: ProductDocument.search_by_image(picture_bytes(), filters=filters),
        lambda: ProductDocument.similar_to("1", filters=filters),
    ):
        with pytest.raises(UnknownFilter, match=message):
            search()


@pytest.mark.parametrize(
    "value",
    ["0001-01-01", "9999-12-31", datetime.datetime.max, datetime.datetime.min, "2024-05-01T10:00+02:00"],
)
def test_dates_at_the_ends_of_time_are_dates(any_store, few, value):
    for lookup in ("", "__lt", "__gte"):
        assert ProductDocument.search("mug", filters={f"released{lookup}": value}).count() == 0


def test_a_declared_name_may_hold_two_underscores(document, monkeypatch):
    monkeypatch.setattr(
        ProductDocument, "filter_fields", {"size__cm": document.declaration.filter_fields["price"]}
    )
    exact, less = searching.parse_filters(document, {"size__cm": 1, "size__cm__lt": 2})
    assert (exact.key, exact.operator, less.key, less.operator) == ("size__cm", "eq", "size__cm", "lt")
