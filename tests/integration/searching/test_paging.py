"""Slices, pages and their limits."""

from __future__ import annotations

import pytest
from django.core.paginator import Paginator
from rest_framework.pagination import LimitOffsetPagination, PageNumberPagination
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from clip_search.models import Collection
from clip_search.searching.finding import DEPTH
from clip_search.stores import get_store
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument

from .actions import COLOURS, THINGS, index, keys, make, with_pictures

pytestmark = pytest.mark.django_db


def test_many_products_in_pages_of_24_are_each_there_once(any_store, document):
    products = make(f"{COLOURS[n % 6]} {THINGS[n % 10]} {n}" for n in range(600))
    index(document)
    paginator = Paginator(ProductDocument.search("red mug", everything=True), 24)
    with get_store().session(Collection.objects.get().name):
        seen = [product.pk for page in paginator for product in page]
    assert paginator.count == 600
    assert len(seen) == 600
    assert set(seen) == set(keys(products))


def test_only_the_products_of_a_slice_are_read(shop, asked, monkeypatch):
    read: list[int] = []
    get = get_store().get
    monkeypatch.setattr(get_store(), "get", lambda name, ids: read.append(len(ids)) or get(name, ids))
    list(ProductDocument.search("shiny red mug", everything=True)[24:36])
    assert read == [12]
    list(ProductDocument.search("shiny red mug", everything=True)[10:50][5:100].hits())
    assert read == [12, 35]
    assert {query.limit for query in asked if query.retriever} == {DEPTH}


def test_every_page_is_of_one_ranking(shop, asked):
    results = ProductDocument.search("red mug", everything=True)
    seen = [key for start in range(0, 60, 7) for key in keys(results[start : start + 7])]
    once = len(asked)
    assert keys(results) == seen
    assert len(asked) == once
    again = ProductDocument.search("red mug", everything=True)
    assert [keys(again[start : start + 9]) for start in (18, 0)] == [seen[18:27], seen[:9]]


@pytest.mark.parametrize("by", ["words", "photo", "product", "nothing"])
def test_many_equal_products_are_each_there_once(any_store, document, by):
    products = make(["red mug"] * 80)
    with_pictures(products, ["red"] * 80)
    index(document)
    results = {
        "words": lambda: ProductDocument.search("a mug that is red", everything=True),
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
    assert list(ProductDocument.search("mug", everything=True)[60:84]) == []
    assert list(ProductDocument.search("mug", everything=True)[999:]) == []


@pytest.mark.parametrize("window", [slice(None, None, 2), slice(-3, None), slice(0, -1)])
def test_windows_that_a_ranking_does_not_have(shop, window):
    with pytest.raises(ValueError, match="neither a step nor"):
        ProductDocument.search("mug", everything=True)[window]


def test_one_by_one(shop):
    results = ProductDocument.search("red mug", everything=True)
    assert results[0] == shop[0]
    with pytest.raises(ValueError, match="Negative"):
        results[-1]
    with pytest.raises(IndexError):
        results[60]
    with pytest.raises(IndexError):
        results[100_000]


def test_slices_of_slices_stay_within(shop):
    everything = keys(ProductDocument.search("red mug", everything=True))
    part = ProductDocument.search("red mug", everything=True)[10:20]
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
    page = paginator.paginate_queryset(ProductDocument.search("red mug", everything=True), request)
    assert keys(page) == keys(ProductDocument.search("red mug", everything=True)[7:14])
    assert paginator.get_paginated_response([]).data["count"] == 60
