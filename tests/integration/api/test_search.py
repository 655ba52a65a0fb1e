"""GET search."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.test import Client
from rest_framework.test import force_authenticate

from clip_search import posting
from clip_search.api import views
from clip_search.documents.registry import registry
from clip_search.exceptions import SearchUnavailable, SetupError, StoreUnavailable

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
        ("q=mug&page=417", "page"),
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
    assert client.get(SEARCH, {"q": "mug", "page": 416, "page_size": 24}).json()["results"] == []


def test_search_503_when_it_cannot_answer(client, monkeypatch):
    monkeypatch.setattr(views, "search", broken(SearchUnavailable("at secret:6333")))
    answer = Client().get(SEARCH, {"q": "mug"})
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert answer.json() == {"detail": "The service is unavailable now. Try again later."}
    answer = client.get(SEARCH, {"q": "mug"})
    assert answer.json() == {"detail": "The service is unavailable now. Try again later. at secret:6333"}


def test_search_503_before_anything_is_indexed(client):
    assert client.get(SEARCH, {"q": "mug"}).status_code == 503


@pytest.mark.parametrize("name", [None, "nothing"])
def test_503_names_the_setting_when_the_document_is_not_said(client, clip_search, name):
    clip_search(API_DOCUMENT=name)
    for answer in (client.get(SEARCH, {"q": "mug"}), client.post(SYNC, FIELDS)):
        assert answer.status_code == 503
        assert "API_DOCUMENT" in answer.json()["detail"]
    assert Client().get(SEARCH, {"q": "mug"}).json()["detail"].endswith("Try again later.")


def shoppers_client() -> Client:
    shopper = Client()
    shopper.force_login(get_user_model().objects.create(username="shopper"))
    return shopper


class NoStaff:
    """A user of a host whose own model has no `is_staff`."""

    is_authenticated = True
    pk = 1


@pytest.mark.parametrize(
    "error",
    [
        SearchUnavailable("Qdrant at 10.1.2.3 is down."),
        StoreUnavailable("Qdrant at 10.1.2.3 is down."),
        SetupError("Qdrant at 10.1.2.3 is down."),
        OperationalError("Qdrant at 10.1.2.3\nis down."),
        OSError("Qdrant at 10.1.2.3 is down."),
    ],
)
def test_503_says_to_staff_what_is_wrong_and_to_nobody_else(client, monkeypatch, error):
    monkeypatch.setattr(views, "search", broken(error))
    answer = client.get(SEARCH, {"q": "mug"})
    assert answer.status_code == 503
    assert answer.json()["detail"].endswith("Qdrant at 10.1.2.3 is down.")
    gone = get_user_model().objects.create(username="gone", is_staff=True, is_active=False)
    former = Client()
    former.force_login(gone)
    for other in (Client(), shoppers_client(), former):
        answer = other.get(SEARCH, {"q": "mug"})
        assert answer.status_code == 503
        assert "10.1.2.3" not in answer.content.decode()


def test_503_of_a_user_without_staff(rf, monkeypatch):
    monkeypatch.setattr(views, "search", broken(SearchUnavailable("Qdrant at 10.1.2.3 is down.")))
    request = rf.get(SEARCH, {"q": "mug"})
    force_authenticate(request, user=NoStaff())
    answer = views.Search.as_view()(request).render()
    assert answer.status_code == 503
    assert b"10.1.2.3" not in answer.content


@pytest.mark.parametrize("name", ["SessionAuthentication.authenticate", "BasicAuthentication.authenticate"])
def test_503_when_who_asks_is_not_known(client, monkeypatch, name):
    error = broken(OperationalError("Database at 10.1.2.3 is down."))
    monkeypatch.setattr(f"rest_framework.authentication.{name}", error)
    answer = client.get(SEARCH, {"q": "mug"})
    assert answer.status_code == 503
    assert "10.1.2.3" not in answer.content.decode()


def test_the_only_document_needs_no_setting(client, clip_search, monkeypatch, document):
    clip_search(API_DOCUMENT=None)
    monkeypatch.setattr(registry, "documents", {"product": document})
    assert posting.api_document() is document
