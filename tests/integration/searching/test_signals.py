"""The signal `search_performed`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clip_search import SearchUnavailable
from clip_search.exceptions import (
    StoreUnavailable,
)
from clip_search.searching.queries import ImageQuery, MoreLikeThis, TextQuery
from clip_search.signals import search_performed
from clip_search.stores import get_store
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument

from .actions import counted, fail_with

pytestmark = pytest.mark.django_db


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    """Return what the signal of searches tells from now on."""
    calls: list[dict[str, Any]] = []

    def note(**arguments: Any) -> None:
        calls.append(arguments)

    search_performed.connect(note)
    yield calls
    search_performed.disconnect(note)


def test_each_page_that_is_read_is_told_once(shop, told):
    page = ProductDocument.search("a  red mug", everything=True, filters={"price__gte": 0})[24:36]
    assert told == []
    assert (len(list(page)), len(page), bool(page)) == (12, 12, True)
    (call,) = told
    assert (call["sender"], call["document"]) == (ProductDocument, "product")
    assert (call["start"], call["hits"]) == (24, 12)
    assert isinstance(call["query"], TextQuery)
    assert call["query"].words == "a red mug"
    assert [condition.key for condition in call["query"].conditions] == ["price"]
    assert 0 <= call["seconds"] < 60
    assert list(ProductDocument.search("mug")[60:72]) == []
    assert (told[-1]["start"], told[-1]["hits"]) == (60, 0)


def test_photos_and_similar_products_are_told_as_what_they_are(shop, document, told):
    list(ProductDocument.search_by_image(picture_bytes("red"), min_score=0.5).hits())
    list(ProductDocument.similar_to(shop[0])[:5].hits())
    photo, product = (call["query"] for call in told)
    assert (type(photo), photo.min_score, type(product)) == (ImageQuery, 0.5, MoreLikeThis)
    assert product.product == document.point_id(str(shop[0].pk))
    assert picture_bytes("red") not in repr(photo).encode()  # a log of queries holds no pictures


def test_counts_and_facets_are_no_pages(shop, told):
    results = ProductDocument.search("a red mug", everything=True)
    assert (results.count(), counted(results, "category")) == (60, {})
    assert told == []


def test_a_search_that_fails_is_not_told(few, told, monkeypatch):
    monkeypatch.setattr(get_store(), "rank", fail_with(StoreUnavailable()))
    with pytest.raises(SearchUnavailable):
        list(ProductDocument.search("mug").hits())
    assert told == []


def test_a_receiver_listens_to_one_document_and_harms_no_search(few, caplog):
    def fail(**arguments: Any) -> None:
        raise ZeroDivisionError("the receiver failed")

    search_performed.connect(fail, sender=ProductDocument)
    try:
        assert list(ProductDocument.search("red mug")[:1]) == few[:1]
    finally:
        search_performed.disconnect(fail, sender=ProductDocument)
    assert "the receiver failed" in caplog.text
