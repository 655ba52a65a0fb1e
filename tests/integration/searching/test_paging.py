"""Slices, pages and their limits."""

from __future__ import annotations

import pytest
from django.core.paginator import Paginator
from rest_framework.pagination import LimitOffsetPagination, PageNumberPagination
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from clip_search import searching
from clip_search.exceptions import (
    SearchTooDeep,
)
from clip_search.models import Collection
from clip_search.stores import get_store
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument

from .actions import COLOURS, THINGS, index, keys, make, with_pictures

pytestmark = pytest.mark.django_db


def test_a_thousand_products_in_pages_of_24_are_each_there_once(any_store, document):
    products = make(f"{COLOURS[n % 6]} {THINGS[n % 10]} {n}" for n in range(1000))
    index(document)
    paginator = Paginator(ProductDocument.search("red mug"), 24)
    with get_store().session(Collection.objects.get().name):
        seen = [product.pk for page in paginator for product in page]
    assert paginator.count == 1000
    assert len(seen) == 1000
    assert set(seen) == set(keys(products))


def test_the_slice_reaches_the_engine(shop, asked):
    list(ProductDocument.search("shiny red mug")[24:36])
    near = [query for query in asked if query.retrievers]
    assert [(query.offset, query.limit, query.depth) for query in near] == [(24, 12, searching.DEPTH)]
    asked.clear()
    list(ProductDocument.search("shiny red mug")[10:50][5:100].hits())
    assert [(query.offset, query.limit) for query in asked if query.retrievers] == [(15, 35)]


@pytest.mark.parametrize("by", ["words", "photo", "product", "nothing"])
def test_many_equal_products_are_each_there_once(any_store, document, by):
    products = make(["red mug"] * 80)
    with_pictures(products, ["red"] * 80)
    index(document)
    results = {
        "words": lambda: ProductDocument.search("a mug that is red"),
        "photo": lambda: ProductDocument.search_by_image(picture_bytes("red")),
        "product": lambda: ProductDocument.similar_to(products[0]),
        "nothing": lambda: ProductDocument.search(""),
    }[by]()
    with results.session():
        seen = [product.pk for start in range(0, 80, 7) for product in results[start : start + 7]]
    expected = set(keys(products)) - ({products[0].pk} if by == "product" else set())
    assert len(seen) == len(expected)
    assert set(seen) == expected


def test_a_page_beyond_the_last_is_empty(shop):
    assert list(ProductDocument.search("mug")[60:84]) == []
    assert list(ProductDocument.search("mug")[999:]) == []


@pytest.mark.parametrize("window", [slice(1001, 1024), slice(1000, None), slice(5000, 5001), slice(0, 1001)])
def test_too_deep_is_an_error_that_says_so(shop, window):
    with pytest.raises(SearchTooDeep, match="at most 1000 results"):
        ProductDocument.search("mug")[window]


def test_the_last_window_of_a_pager_may_reach_over(shop):
    assert list(ProductDocument.search("mug")[990:1014]) == []
    assert list(ProductDocument.search("mug")[1000:1000]) == []
    last = ProductDocument.search("mug")[1000:1024]
    assert (list(last), list(last.hits()), last.count(), bool(last)) == ([], [], 0, False)
    with pytest.raises(SearchTooDeep):
        ProductDocument.search("mug")[900:][100:]


@pytest.mark.parametrize("window", [slice(None, None, 2), slice(-3, None), slice(0, -1)])
def test_windows_that_a_ranking_does_not_have(shop, window):
    with pytest.raises(ValueError, match="neither a step nor"):
        ProductDocument.search("mug")[window]


def test_one_by_one(shop):
    results = ProductDocument.search("red mug")
    assert results[0] == shop[0]
    with pytest.raises(ValueError, match="Negative"):
        results[-1]
    with pytest.raises(IndexError):
        results[60]
    with pytest.raises(IndexError):
        results[1000]
    with pytest.raises(SearchTooDeep):
        results[1001]


def test_slices_of_slices_stay_within(shop):
    everything = keys(ProductDocument.search("red mug"))
    part = ProductDocument.search("red mug")[10:20]
    assert keys(part[2:5]) == everything[12:15]
    assert keys(part[5:50]) == everything[15:20]
    assert keys(part[5:]) == everything[15:20]
    assert (len(part[5:50]), part[12:].count()) == (5, 0)
    assert repr(part) == "<SearchResults of 'product' from 10 to 20>"


@pytest.mark.parametrize(
    ("pagination", "query"), [(PageNumberPagination, "page=2"), (LimitOffsetPagination, "limit=7&offset=7")]
)
def test_rest_framework_pages(shop, pagination, query):
    class Paged(pagination):
        page_size = default_limit = 7

    paginator = Paged()
    request = Request(APIRequestFactory().get(f"/?{query}"))
    page = paginator.paginate_queryset(ProductDocument.search("red mug"), request)
    assert keys(page) == keys(ProductDocument.search("red mug")[7:14])
    assert paginator.get_paginated_response([]).data["count"] == 60


def test_rest_framework_asks_for_a_page_behind_the_last(document):
    class Paged(LimitOffsetPagination):
        default_limit, max_limit = 7, 50

    make(f"mug {n}" for n in range(1001))
    index(document)
    request = Request(APIRequestFactory().get("/?offset=1000"))
    assert Paged().paginate_queryset(ProductDocument.search("mug"), request) == []
