"""filter() and exclude() on results."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from clip_search.exceptions import (
    UnknownFilter,
)
from clip_search.models import Collection
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product, Tag

from .actions import counted, index, keys, make, with_pictures
from .random_shop import brute_force, random_filters, random_shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def labelled(any_store, document) -> dict[str, Product]:
    """Six products on each store, told apart by category, tags, price and date; by their names."""
    kitchen, bath = (Category.objects.create(name=slug, slug=slug) for slug in ("kitchen", "bath"))
    new, sale = (Tag.objects.create(name=name) for name in ("new", "sale"))
    first, last = datetime.date(2024, 1, 1), datetime.date(2024, 12, 31)
    rows: dict[str, tuple[Category | None, list[Tag], int, datetime.date | None]] = {
        "red mug": (kitchen, [new, sale], 10, first),
        "red cup": (kitchen, [sale], 20, last),
        "red towel": (bath, [new], 10, None),
        "red lamp": (None, [], 10, first),
        "red vase": (None, [sale], 30, None),
        "red bowl": (kitchen, [], 30, last),
    }
    products = dict(zip(rows, make(rows), strict=True))
    with pause_indexing():
        for name, (category, tags, price, released) in rows.items():
            product = products[name]
            product.category, product.price, product.released = category, price, released
            product.save()
            product.tags.set(tags)
    with_pictures(list(products.values()), ["red"] * len(products))
    index(document)
    return products


NARROWED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"red mug", "red cup", "red towel", "red lamp", "red vase", "red bowl"}),
    ({"category": "kitchen"}, {"red mug", "red cup", "red bowl"}),
    ({"category__in": ["kitchen", "bath"]}, {"red mug", "red cup", "red towel", "red bowl"}),
    ({"category__in": []}, set()),
    ({"category__isnull": True}, {"red lamp", "red vase"}),
    ({"category__isnull": False}, {"red mug", "red cup", "red towel", "red bowl"}),
    ({"price": 10}, {"red mug", "red towel", "red lamp"}),
    ({"price__in": [20, Decimal(30)]}, {"red cup", "red vase", "red bowl"}),
    ({"released__gt": datetime.date(2024, 6, 1)}, {"red cup", "red bowl"}),
    ({"in_stock": False}, set()),
    ({"tag": "sale"}, {"red mug", "red cup", "red vase"}),
    ({"tag__in": ["new", "none"]}, {"red mug", "red towel"}),
    ({"tag__isnull": True}, {"red lamp", "red bowl"}),
    ({"tag": "sale", "price__lt": 30}, {"red mug", "red cup"}),
    ({"tag": "sale", "category__isnull": True}, {"red vase"}),
    ({"tag__isnull": False, "category__isnull": False}, {"red mug", "red cup", "red towel"}),
    ({"price__gte": 10, "price__lt": 30, "in_stock": True}, {"red mug", "red cup", "red towel", "red lamp"}),
    ({"price": 10, "category": "kitchen", "tag": "new", "released__isnull": True}, set()),
]
"""Lookups, and the products of `labelled` that meet all of them."""


def names(results: Iterable[Product]) -> set[str]:
    return {product.name for product in results}


def test_filter_keeps_what_meets_all_lookups_and_exclude_the_rest(labelled):
    declared = ProductDocument
    for results in (
        declared.search("a red mug", everything=True),
        declared.search(""),
        declared.search_by_image(picture_bytes("red")),
    ):
        with results.session():
            for lookups, met in NARROWED:
                kept, left = results.filter(**lookups), results.exclude(**lookups)
                # as in Django, nothing is excluded by no lookups
                rest = labelled.keys() - met if lookups else labelled.keys()
                assert (names(kept), kept.count()) == (met, len(met)), lookups
                assert (names(left), left.count()) == (rest, len(rest)), lookups
                assert (names(results), results.count()) == (labelled.keys(), 6), lookups


def test_a_hundred_random_lookups_equal_the_database(any_store, document):
    random_shop(document)
    rng = random.Random(3)
    everything = set(keys(Product.objects.all()))
    results = ProductDocument.search("a red mug", everything=True)
    excluded_some = 0
    with get_store().session(Collection.objects.get().name):
        for _ in range(100):
            lookups, others = random_filters(document, rng), random_filters(document, rng)
            met, met_too = brute_force(lookups), brute_force(others)
            for narrowed, expected in (
                (results.filter(**lookups), met),
                (results.exclude(**lookups), everything - met),
                (results.filter(**others).exclude(**lookups), met_too - met),
            ):
                assert {int(hit.product_id) for hit in narrowed.hits()} == expected, (lookups, others)
            excluded_some += 0 < len(met) < len(everything)
    assert excluded_some > 30


def test_results_are_narrowed_step_by_step(labelled):
    search = ProductDocument.search
    results = (
        search("a red mug", everything=True, filters={"price__lt": 30})
        .filter(tag="sale")
        .exclude(category="bath")
    )
    assert names(results) == {"red mug", "red cup"}
    assert names(results.filter(tag="new")) == {"red mug"}
    assert names(results.exclude(tag="new")) == {"red cup"}
    # each exclude() stands for itself: what meets either lookup is left out
    either = search("a red mug", everything=True).exclude(price=10).exclude(category="kitchen")
    assert names(either) == {"red vase"}
    assert names(
        search("a red mug", everything=True).exclude(price=10, category="kitchen")
    ) == labelled.keys() - {"red mug"}


def test_what_is_narrowed_is_ranked_counted_and_paged_like_a_search_with_filters(labelled):
    search = ProductDocument.search
    narrowed = search("red mug", everything=True).filter(price__gte=20)
    filtered = search("red mug", everything=True, filters={"price__gte": 20})
    assert list(narrowed.hits()) == list(filtered.hits())
    assert [hit for n in range(3) for hit in narrowed[n : n + 1].hits()] == list(filtered.hits())
    assert counted(narrowed, "category") == counted(filtered, "category") == {"kitchen": 2}
    left = search("red mug", everything=True).exclude(price__gte=20, tag="sale")
    assert counted(left, "category") == {"kitchen": 2, "bath": 1}
    assert left.first() == labelled["red mug"]  # an exact name is still first
    assert search("red mug", everything=True).exclude(price=10).first() != labelled["red mug"]


def test_similar_ones_are_narrowed_and_never_the_product_itself(labelled):
    similar = ProductDocument.similar_to(labelled["red mug"])
    assert names(similar.filter(tag="sale")) == {"red cup", "red vase"}
    assert names(similar.exclude(tag="sale")) == {"red towel", "red lamp", "red bowl"}
    assert similar.exclude(tag="sale", category__isnull=True).count() == 4


@pytest.mark.parametrize(
    ("lookups", "message"),
    [
        ({"colour": "red"}, "no filter 'colour'. Its filters: category, in_stock, price, released, tag"),
        ({"price": "dear"}, "'price' does not accept 'dear'"),
        ({"in_stock": True, "category__gt": "a"}, "no lookup 'gt'"),
    ],
)
def test_lookups_that_cannot_be_are_refused_at_once(lookups, message):
    results = ProductDocument.search("mug")
    for narrow in (results.filter, results.exclude):
        with pytest.raises(UnknownFilter, match=message):
            narrow(**lookups)


@pytest.mark.parametrize("window", [slice(0, 5), slice(5, None), slice(5, 10), slice(0, 0)])
def test_what_is_sliced_cannot_be_narrowed(window):
    page = ProductDocument.search("mug")[window]
    for narrow in (page.filter, page.exclude):
        with pytest.raises(TypeError, match="once a slice has been taken"):
            narrow(price__gte=0)


def test_a_slice_of_everything_can_be_narrowed(labelled):
    assert names(ProductDocument.search("a red mug", everything=True)[:].filter(price=20)) == {"red cup"}


def test_nothing_is_asked_before_what_is_narrowed_is_used(asked, django_assert_num_queries):
    with django_assert_num_queries(0):
        results = ProductDocument.search("mug").filter(price=1).exclude(tag="new", in_stock=True)
        assert "product" in repr(results[5:10])
    assert asked == []
