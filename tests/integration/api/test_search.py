"""GET search."""

from __future__ import annotations

import pytest
from django.test import Client

from clip_search import posting
from clip_search.api import views
from clip_search.documents.registry import registry
from clip_search.exceptions import SearchUnavailable

from .actions import FIELDS, SEARCH, SYNC, broken

pytestmark = pytest.mark.django_db


def index_many(client: Client, count: int) -> None:
    for number in range(count):
        client.post(SYNC, FIELDS | {"product_id": f"p{number}", "name": f"Red mug {number}"})


def test_search_pages(client):
    index_many(client, 5)
    pages = [client.get(SEARCH, {"q": "mug", "page": n, "page_size": 2}).json() for n in (1, 2, 3, 4)]
    assert [len(page["results"]) for page in pages] == [2, 2, 1, 0]
    assert {page["count"] for page in pages} == {5}
    assert (pages[1]["page"], pages[1]["page_size"]) == (2, 2)
    assert len({hit["product_id"] for page in pages for hit in page["results"]}) == 5


def test_search_is_open_and_its_payload_is_without_our_own_part(client):
    client.post(SYNC, FIELDS)
    answer = Client().get(SEARCH, {"q": "mug"})
    assert answer.status_code == 200
    assert "_clip" not in answer.content.decode()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "q"),
        ("q=", "q"),
        ("q=%20%20", "q"),
        ("q=" + "x" * 1001, "q"),
        ("q=%FF", "q"),
        ("q=a%00b", "q"),
        ("q=mug&page=0", "page"),
        ("q=mug&page=x", "page"),
        ("q=mug&page=43", "page"),
        ("q=mug&page=" + "9" * 5000, "page"),
        ("q=mug&page_size=0", "page_size"),
        ("q=mug&page_size=101", "page_size"),
    ],
)
def test_search_refuses_by_name(query, field):
    answer = Client().get(f"{SEARCH}?{query}")
    assert answer.status_code == 400
    assert field in answer.json()


def test_last_page_ends_where_results_end(client):
    client.post(SYNC, FIELDS)
    assert client.get(SEARCH, {"q": "mug", "page": 42, "page_size": 24}).json()["results"] == []


def test_search_503_when_it_cannot_answer(client, monkeypatch):
    monkeypatch.setattr(views, "search", broken(SearchUnavailable("at secret:6333")))
    answer = client.get(SEARCH, {"q": "mug"})
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert "secret" not in answer.content.decode()


def test_search_503_before_anything_is_indexed(client):
    assert client.get(SEARCH, {"q": "mug"}).status_code == 503


@pytest.mark.parametrize("name", [None, "nothing"])
def test_503_names_the_setting_when_the_document_is_not_said(client, clip_search, name):
    clip_search(API_DOCUMENT=name)
    for answer in (client.get(SEARCH, {"q": "mug"}), client.post(SYNC, FIELDS)):
        assert answer.status_code == 503
        assert "API_DOCUMENT" in answer.json()["detail"]


def test_the_only_document_needs_no_setting(client, clip_search, monkeypatch, document):
    clip_search(API_DOCUMENT=None)
    monkeypatch.setattr(registry, "_documents", {"product": document})
    assert posting.api_document() is document
