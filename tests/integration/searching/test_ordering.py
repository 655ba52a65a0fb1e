"""What a search finds, sorted by the values of its filters."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from clip_search import Bool, Date, Document, Keyword, Number
from clip_search.documents.binding import BoundDocument
from clip_search.exceptions import UnknownFilter
from clip_search.models import Collection
from clip_search.searching.filters import parse_filters
from clip_search.searching.ordering import ordered, parse_order
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from tests.shops.shop.models import Product

from .actions import index

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]

PRODUCTS: dict[str, dict[str, Any]] = {
    "mug": {"price": 5, "brand": "acme", "published": "2024-05-01", "sizes": [1, 9], "in_stock": True},
    "cup": {"price": 5, "brand": "Émile", "published": "2024-05-01T08:00:00+02:00", "sizes": [2, 3]},
    "pan": {"price": 30, "brand": "Zebra", "published": "2024-05-01T06:00:00.5+00:00", "in_stock": False},
    "rug": {"brand": "ACME", "place": ["Home > Kitchen"]},
    "bag": {"price": 1, "published": "2023-05-01", "sizes": [4], "place": ["Home > Bath"]},
}


@pytest.fixture
def document(register_document) -> BoundDocument:
    filters = {
        key: kind(from_=lambda row, key=key: PRODUCTS[row.name].get(key))
        for key, kind in {
            "price": Number,
            "brand": Keyword,
            "published": Date,
            "sizes": Number,
            "in_stock": Bool,
        }.items()
    }
    filters["place"] = Keyword(from_=lambda row: PRODUCTS[row.name].get("place"), separator=" > ")
    attributes = {"name": "sorted", "text_fields": ["name"], "filter_fields": filters}
    bound = register_document(type("SortedDocument", (Document,), attributes), Product)
    with pause_indexing():
        for name in PRODUCTS:
            Product.objects.create(name=name)
    index(bound)
    return bound


def names(document: BoundDocument, *order: str, relevance: dict[str, float] | None = None, **filters: Any):
    by_id = {document.point_id(str(row.pk)): row.name for row in Product.objects.all()}
    ids = {name: point_id for point_id, name in by_id.items()}
    found = ordered(
        document,
        get_store(),
        Collection.objects.live(document).name,
        parse_order(document, order),
        conditions=parse_filters(document, filters),
        relevance={ids[name]: score for name, score in (relevance or {}).items()},
    )
    assert len(found) == len(set(found))
    assert all(isinstance(point_id, uuid.UUID) for point_id in found)
    return [by_id[point_id] for point_id in found]


MUG_FIRST = {"mug": 0.9, "cup": 0.5}
CUP_FIRST = {"mug": 0.5, "cup": 0.9}


@pytest.mark.parametrize(
    ("order", "relevance", "expected"),
    [
        (["price"], MUG_FIRST, "bag mug cup pan rug"),
        (["price"], CUP_FIRST, "bag cup mug pan rug"),
        (["-price"], MUG_FIRST, "pan mug cup bag rug"),
        (["-price"], CUP_FIRST, "pan cup mug bag rug"),
        (["brand", "price"], {}, "mug rug pan cup bag"),
        (["-brand", "-price"], {}, "cup pan mug rug bag"),
        (["sizes"], {"rug": 1, "pan": 0.5}, "mug cup bag rug pan"),
        (["-sizes"], {"rug": 1, "pan": 0.5}, "mug bag cup rug pan"),
        (["-in_stock", "relevance"], {"rug": 1, "bag": 0.5, "cup": 0.1}, "mug pan rug bag cup"),
        (["in_stock", "price"], {}, "pan mug bag cup rug"),
        (["place", "price"], MUG_FIRST, "bag rug mug cup pan"),
        (["relevance"], {"mug": 0.1, "rug": 0.9, "cup": 0.5, "pan": 0.3, "bag": 0.2}, "rug cup pan bag mug"),
        (["relevance", "price"], {"pan": 0.1}, "pan bag"),
        (["price", "sizes"], {}, "bag mug cup pan rug"),
    ],
)
def test_products_are_sorted(document, order, relevance, expected):
    wanted = expected.split()
    assert names(document, *order, relevance=relevance)[: len(wanted)] == wanted


def test_dates_are_sorted_as_moments_not_as_texts(document):
    moments = names(document, "published", relevance={})
    assert moments[0] == "bag"
    assert moments.index("cup") < moments.index("pan")
    assert names(document, "-published", "price")[-2:] == ["bag", "rug"]


def test_values_of_a_wrong_type_are_no_values(document, monkeypatch):
    wrong = {
        "mug": {"published": "soon", "price": "1", "in_stock": 1, "brand": 3},
        "cup": {"price": [2, "x"]},
    }
    monkeypatch.setattr(
        type(document.declaration), "get_payload", lambda self, row: wrong.get(row.name, {"price": 3})
    )
    index(document)
    assert names(document, "published", "in_stock", "brand", "price")[0] == "cup"
    assert names(document, "price")[-1] == "mug"


def test_only_what_meets_the_conditions_is_sorted(document):
    assert names(document, "-price", price__lt=30) == names(document, "-price", price__lte=5)
    assert set(names(document, "price", price__lt=30)) == {"bag", "mug", "cup"}
    assert names(document, "price", price__gt=100) == []


def test_equal_products_keep_one_order(document):
    first = names(document, "place")
    assert names(document, "place") == first
    tied = [document.point_id(str(Product.objects.get(name=name).pk)) for name in first[2:]]
    assert tied == sorted(tied)


@pytest.mark.parametrize(
    "name", ["colour", "-colour", "", "-", "--price", "price,brand", "-relevance", "_clip"]
)
def test_an_unknown_order_lists_the_known_ones(document, name):
    known = "by: brand, in_stock, place, price, published, sizes, relevance"
    with pytest.raises(UnknownFilter, match=known):
        parse_order(document, [name])
