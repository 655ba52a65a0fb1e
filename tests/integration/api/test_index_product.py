"""POST index-product."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError

from clip_search import outbox, posting
from clip_search.exceptions import ModelUnavailable, StoreUnavailable
from clip_search.indexing import inline
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.types import POSTED_SOURCE

from .actions import FIELDS, SEARCH, SYNC, broken, damaged, entry_of, image_file, post_image

pytestmark = pytest.mark.django_db

# POST index-product.


@pytest.mark.parametrize("content_type", [None, "application/json", "application/x-www-form-urlencoded"])
def test_sync_answers_exactly_as_documented(client, content_type):
    body = FIELDS
    if content_type == "application/json":
        body = json.dumps(FIELDS)
    elif content_type:
        body = "product_id=test-123&name=Red+mug&description=For+tea.&metadata=extra-data"
    answer = client.post(SYNC, body, **({"content_type": content_type} if content_type else {}))
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "success",
        "message": "Product test-123 indexed successfully",
        "embedding_dimension": 256,
    }


def test_sync_is_searchable_when_it_answers(client, document):
    client.post(SYNC, FIELDS)
    entry = entry_of(document)
    assert (entry.state, entry.source) == (IndexEntry.State.INDEXED, POSTED_SOURCE)
    found = client.get(SEARCH, {"q": "red mug"}).json()
    assert found["count"] == 1
    hit = found["results"][0]
    assert (hit["product_id"], hit["source"]) == ("test-123", POSTED_SOURCE)
    assert hit["payload"] == {"name": "Red mug", "description": "For tea.", "metadata": "extra-data"}


def test_sync_indexes_once_and_wakes_nobody(client, woken, monkeypatch, django_capture_on_commit_callbacks):
    calls = []
    index_now = posting.index_now
    monkeypatch.setattr(posting, "index_now", lambda *args: calls.append(args) or index_now(*args))
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        assert client.post(SYNC, FIELDS).status_code == 200
    assert (len(calls), callbacks, woken) == (1, [], [])


def test_sync_again_replaces_what_was_posted(client, document):
    client.post(SYNC, FIELDS)
    client.post(SYNC, FIELDS | {"name": "Blue cup"})
    assert PostedProduct.objects.get().name == "Blue cup"
    assert entry_of(document).revision == 2


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("at secret:6333"),
        ModelUnavailable(),
        DatabaseError(),
        RuntimeError("out of secret memory"),
    ],
)
def test_sync_503_when_it_cannot_index_now_and_keeps_it(client, clip_search, document, monkeypatch, error):
    monkeypatch.setattr(inline, "index_due", broken(error))
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    saved = "Product test-123 is saved and will be indexed, but not now."
    assert answer.json()["detail"] == f"{saved} {error}".strip()
    clip_search(API_PERMISSION_CLASSES=["rest_framework.permissions.IsAuthenticated"])
    get_user_model().objects.update(is_staff=False)
    assert client.post(SYNC, FIELDS).json() == {"detail": saved}
    assert entry_of(document).state == IndexEntry.State.PENDING
    assert PostedProduct.objects.count() == 1


@pytest.mark.parametrize(
    "qdrant",
    [{"port": "abc"}, {"port": 0}, {"port": 70000}, {"url": "http://127.0.0.1:70000"}, {"headers": 5}],
)
def test_503_when_the_address_of_qdrant_cannot_be_used(client, clip_search, qdrant):
    assert client.post(SYNC, FIELDS).status_code == 200
    clip_search(QDRANT={"url": "http://127.0.0.1"} | qdrant)
    assert client.post(SYNC, FIELDS).status_code == 503
    assert client.get(SEARCH, {"q": "red mug"}).status_code == 503


@pytest.mark.parametrize("error", [NotImplementedError(), RecursionError()])
def test_sync_hides_no_fault_of_the_program(client, monkeypatch, error):
    monkeypatch.setattr(inline, "index_due", broken(error))
    with pytest.raises(type(error)):
        client.post(SYNC, FIELDS)


def test_sync_503_when_a_worker_keeps_holding_it(client, monkeypatch):
    index_now = posting.index_now
    monkeypatch.setattr(posting, "index_now", lambda *args: index_now(*args, timeout=0.1))
    monkeypatch.setattr(inline, "index_due", lambda *args, **kwargs: iter(()))
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 503
    assert "A worker is already indexing it" in answer.json()["detail"]


def test_sync_503_when_the_collection_has_just_vanished(client, monkeypatch):
    index_now = posting.index_now

    def index_and_lose(*args):
        entry = index_now(*args)
        Collection.objects.all().delete()
        return entry

    monkeypatch.setattr(posting, "index_now", index_and_lose)
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 503
    assert "test-123 is saved and will be indexed" in answer.json()["detail"]


def test_sync_409_when_it_was_deleted_meanwhile(client, document, monkeypatch):
    monkeypatch.setattr(posting, "index_now", lambda *a: IndexEntry(state=IndexEntry.State.REMOVED))
    assert client.post(SYNC, FIELDS).status_code == 409


def test_sync_400_with_the_reason_when_the_product_cannot_be_indexed(client, monkeypatch, document):
    monkeypatch.setattr(PostedProduct, "content", broken(ValueError("odd")))
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 400
    assert "odd" in answer.json()["detail"][0]


def test_sync_names_the_image_that_was_posted_before(client, woken, document):
    assert post_image(client, damaged()).status_code == 202
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 400
    assert "image_file" in answer.json()


@pytest.mark.parametrize("name", ["image_file", "photo"])
def test_sync_names_the_endpoint_that_takes_a_file(client, name):
    answer = client.post(SYNC, FIELDS | {name: image_file()})
    assert answer.status_code == 400
    assert list(answer.json()) == [name]
    assert "index-product-with-image" in answer.json()[name][0]
    assert not PostedProduct.objects.exists()


def test_sync_names_that_endpoint_for_a_large_image_too(client):
    answer = client.post(SYNC, FIELDS | {"image_file": image_file(bytes(3_000_000))})
    assert answer.status_code == 400
    assert "index-product-with-image" in answer.json()["detail"]


def test_sync_refuses_an_image_in_json_too(client):
    body = json.dumps(FIELDS | {"image_file": "data:image/png;base64,AAAA"})
    answer = client.post(SYNC, body, content_type="application/json")
    assert answer.status_code == 400
    assert "index-product-with-image" in answer.json()["image_file"][0]


@pytest.mark.parametrize("nothing", [None, ""])
def test_sync_takes_an_empty_image_for_none(client, nothing):
    body = json.dumps(FIELDS | {"image_file": nothing})
    assert client.post(SYNC, body, content_type="application/json").status_code == 200


# POST index-product-with-image.


def test_async_names_the_field_of_a_second_file(client, woken):
    answer = post_image(client, back=image_file())
    assert answer.status_code == 400
    assert "image_file" in answer.json()["back"][0]
    assert not PostedProduct.objects.exists()


def test_sync_saves_nothing_when_it_cannot_be_scheduled(client, document, monkeypatch):
    monkeypatch.setattr(outbox, "schedule", broken(DatabaseError("full")))
    with pytest.raises(DatabaseError):
        client.post(SYNC, FIELDS)
    assert not PostedProduct.objects.exists()
