"""The endpoints, over HTTP as clients use them: what they answer, and what they refuse."""

from __future__ import annotations

import io
import json
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, OperationalError, connection, connections
from django.test import Client, override_settings
from django.urls import include, path, reverse
from PIL import Image

from clip_search import indexing, jobs, outbox, posting, queue
from clip_search.api import metadata, serializers, views
from clip_search.documents.registry import registry
from clip_search.exceptions import ModelUnavailable, SearchUnavailable, StoreUnavailable
from clip_search.indexing import inline
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.types import MODEL_SOURCE, POSTED_SOURCE
from tests.conftest import picture_bytes
from tests.shops.shop.models import Product

pytestmark = pytest.mark.django_db

SYNC = "/api/v1/index-product"
ASYNC = "/api/v1/index-product-with-image"
SEARCH = "/api/v1/search"
NOBODY = "11111111-2222-5333-8444-555555555555"
FIELDS = {"product_id": "test-123", "name": "Red mug", "description": "For tea.", "metadata": "extra-data"}

urlpatterns = [path("shop/v2/", include(("clip_search.api.urls", "clip_search"), namespace="nested"))]


@pytest.fixture
def client() -> Client:
    user = get_user_model()(username="staff", is_staff=True)
    user.set_password("secret")
    user.save()
    client = Client(raise_request_exception=True)
    client.force_login(user)
    return client


@pytest.fixture
def document():
    return registry.get("product")


@pytest.fixture
def clip_search(settings):
    """Return a function that changes keys of CLIP_SEARCH."""

    def change(**keys: object) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | keys

    return change


@pytest.fixture
def woken(clip_search, monkeypatch) -> list[str]:
    """Use a queue that only notes which documents were announced."""
    names: list[str] = []
    clip_search(QUEUE="default")
    monkeypatch.setattr(queue, "wake", lambda document: names.append(document.name) or True)
    return names


def image_file(data: bytes | None = None, name: str = "mug.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture_bytes() if data is None else data)


def post_image(client: Client, data: bytes | None = None, name: str = "mug.png", **fields: object):
    return client.post(ASYNC, {**FIELDS, **fields, "image_file": image_file(data, name)})


def entry_of(document, product_id: str = "test-123") -> IndexEntry:
    return IndexEntry.objects.of(document).get(uuid=document.point_id(product_id))


def broken(error: Exception):
    def fail(*args: object, **kwargs: object):
        raise error

    return fail


def damaged() -> bytes:
    """Return a JPEG with a whole header and half a body."""
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 100).save(buffer, "JPEG")
    return buffer.getvalue()[: buffer.tell() // 2]


def huge_png(side: int = 15_000) -> bytes:
    """Return a PNG of 225 million pixels, in 30 kB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 7) // 8 + 1) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# POST index-product


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
def test_sync_503_when_it_cannot_index_now_and_keeps_it(client, document, monkeypatch, error):
    monkeypatch.setattr(inline, "index_due", broken(error))
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert "test-123 is saved and will be indexed" in answer.json()["detail"]
    assert "secret" not in answer.content.decode()
    assert entry_of(document).state == IndexEntry.State.PENDING
    assert PostedProduct.objects.count() == 1


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
    assert "busy" in answer.json()["detail"]


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


# POST index-product-with-image


def test_async_is_queued_at_once(client, woken, document):
    answer = post_image(client)
    entry = entry_of(document)
    job_id = f"{entry.uuid}.1"
    assert answer.status_code == 202
    assert answer.json() == {
        "status": "queued",
        "message": "Product test-123 queued for indexing",
        "product_id": "test-123",
        "job_id": job_id,
        "status_url": f"http://testserver/api/v1/index-jobs/{job_id}",
    }
    assert woken == ["product"]
    assert entry.state == IndexEntry.State.PENDING


def test_async_touches_neither_model_nor_store(client, woken, monkeypatch):
    monkeypatch.setattr("clip_search.indexing.targets.get_encoder", broken(AssertionError()))
    monkeypatch.setattr("clip_search.indexing.targets.get_store", broken(AssertionError()))
    assert post_image(client).status_code == 202


def test_async_imports_no_torch(start_process, tmp_path):
    code = (
        "import django, sys; django.setup(); import clip_search.api.urls; "
        "sys.exit(any(m in sys.modules for m in "
        "('torch', 'sentence_transformers', 'qdrant_client', 'qdrant_edge')))"
    )
    assert start_process("-c", code, CLIP_SEARCH_TEST_DATA=str(tmp_path)).wait() == 0


def test_async_writes_one_file_in_few_statements(client, woken, media, django_assert_max_num_queries):
    post_image(client)
    with django_assert_max_num_queries(16):
        post_image(client)
    files = [file for file in media.rglob("*") if file.is_file()]
    assert len(files) <= 2  # the replaced one goes when this test's transaction would commit


def test_async_says_when_redis_is_down(client, clip_search, document):
    clip_search(QUEUE="default")  # port 1: nobody listens
    answer = post_image(client)
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert "queue is down" in answer.json()["message"]
    assert entry_of(document).state == IndexEntry.State.PENDING


def test_async_without_a_queue_says_what_happened(client):
    answer = post_image(client)
    assert answer.status_code == 202
    assert answer.json()["status"] == "indexed"
    assert '"QUEUE"] is None' in answer.json()["message"]
    assert client.get(SEARCH, {"q": "red"}).json()["count"] == 1


@pytest.mark.parametrize("error", [StoreUnavailable(), OperationalError("database is locked")])
def test_async_without_a_queue_says_when_it_could_not_be_indexed(client, monkeypatch, document, error):
    monkeypatch.setattr(inline, "index_due", broken(error))
    answer = post_image(client)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert "saved and will be indexed, but not now" in answer.json()["message"]
    assert entry_of(document).state == IndexEntry.State.PENDING


def test_async_with_a_damaged_image_is_failed_with_the_reason(client):
    answer = post_image(client, damaged())
    assert answer.json()["status"] == "failed"
    job = client.get(answer.json()["status_url"]).json()
    assert job["status"] == "failed"
    assert job["error"]


def test_async_goes_through_a_real_queue(client, queue, document):
    assert post_image(client).json()["message"] == "Product test-123 queued for indexing"
    assert queue.count == 1


def test_async_removes_the_file_when_it_cannot_be_saved(client, woken, media, monkeypatch):
    monkeypatch.setattr(outbox, "schedule", broken(DatabaseError("full")))
    with pytest.raises(DatabaseError):
        post_image(client)
    assert not [file for file in media.rglob("*") if file.is_file()]
    assert not PostedProduct.objects.exists()


@pytest.mark.parametrize("error", [OperationalError("database is locked"), OSError(28, "No space left")])
def test_what_cannot_be_saved_now_is_a_503_that_says_so(client, woken, media, monkeypatch, error):
    monkeypatch.setattr(outbox, "schedule", broken(error))
    for answer in (post_image(client), client.post(SYNC, FIELDS)):
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) > 0
        assert "Send it again" in answer.json()["detail"]
    assert not [file for file in media.rglob("*") if file.is_file()]
    assert not PostedProduct.objects.exists()


def test_async_stores_under_a_generated_name(client, woken):
    post_image(client, name="../../etc/passwd.png")
    name = PostedProduct.objects.get().image.name
    assert name.startswith("clip_search/")
    assert "passwd" not in name


def test_sync_saves_nothing_when_it_cannot_be_scheduled(client, document, monkeypatch):
    monkeypatch.setattr(outbox, "schedule", broken(DatabaseError("full")))
    with pytest.raises(DatabaseError):
        client.post(SYNC, FIELDS)
    assert not PostedProduct.objects.exists()


@pytest.mark.sql
@pytest.mark.django_db(transaction=True)
def test_first_posts_of_one_product_at_once_all_succeed(client, woken):
    def post(number: int) -> int:
        try:
            other = Client()
            other.cookies = client.cookies
            return post_image(other, name=f"{number}.png").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(post, range(8))) == {202}
    assert PostedProduct.objects.count() == 1
    assert IndexEntry.objects.get().revision == 8


@override_settings(ROOT_URLCONF=__name__)
def test_status_url_follows_where_the_host_mounted_the_endpoints(client, woken):
    answer = client.post("/shop/v2/index-product-with-image", {**FIELDS, "image_file": image_file()})
    assert answer.json()["status_url"].startswith("http://testserver/shop/v2/index-jobs/")


# GET index-jobs


@pytest.mark.sql
def test_job_goes_from_queued_to_indexed(client, woken, document):
    url = post_image(client).json()["status_url"]
    job = client.get(url).json()
    assert (job["status"], job["product_id"], job["error"], job["revision"]) == ("queued", "test-123", "", 1)
    jobs.index_due("product")
    assert client.get(url).json()["status"] == "indexed"


def test_job_is_being_indexed_while_a_worker_holds_it(client, woken, document):
    url = post_image(client).json()["status_url"]
    IndexEntry.objects.of(document).claim(10, indexing.LEASE)
    assert client.get(url).json()["status"] == "indexing"
    later = post_image(client).json()["status_url"]
    assert client.get(later).json()["status"] == "queued"


def test_job_is_done_when_a_later_revision_is(client, woken):
    first = post_image(client).json()["status_url"]
    post_image(client)
    jobs.index_due("product")
    assert client.get(first).json()["status"] == "indexed"


def test_job_says_that_its_product_was_deleted_since(client, woken):
    url = post_image(client).json()["status_url"]
    jobs.index_due("product")
    client.delete("/api/v1/products/test-123")
    assert client.get(url).json()["status"] == "indexed"
    jobs.index_due("product")
    assert client.get(url).json()["status"] == "removed"


@pytest.mark.parametrize(
    "job_id",
    ["x", "1", f"{NOBODY}.1", "{entry}.2", "{entry}.0", "{entry}", "{entry}.9999999999999999999"],
)
def test_unknown_jobs_are_404(client, woken, document, job_id):
    post_image(client)
    answer = client.get(f"/api/v1/index-jobs/{job_id.format(entry=entry_of(document).uuid)}")
    assert answer.status_code == 404


# DELETE products


@pytest.mark.parametrize("product_id", ["test-123", "a/b", "a//b/similar", "ä b%2F?#+&;", "💡", "../x"])
def test_delete_takes_any_id(client, woken, document, product_id):
    assert client.post(SYNC, FIELDS | {"product_id": product_id}).status_code == 200
    url = reverse("clip_search:product", kwargs={"product_id": product_id}).replace("a/b", "a%2Fb")
    assert client.delete(url).status_code == 204
    jobs.index_due("product")
    assert entry_of(document, product_id).state == IndexEntry.State.REMOVED
    assert client.get(SEARCH, {"q": "red mug"}).json()["count"] == 0
    assert client.delete(url).status_code == 404


def test_delete_removes_the_file(client, woken, media, django_capture_on_commit_callbacks):
    post_image(client)
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete("/api/v1/products/test-123").status_code == 204
    assert not [file for file in media.rglob("*") if file.is_file()]
    assert woken == ["product", "product"]


@pytest.mark.sql
def test_delete_gives_the_shops_row_its_place_back(client, woken, document):
    product = Product.objects.create(name="Green vase", sku="G1")
    client.post(SYNC, FIELDS | {"product_id": str(product.pk)})
    assert client.delete(f"/api/v1/products/{product.pk}").status_code == 204
    jobs.index_due("product")
    entry = entry_of(document, str(product.pk))
    assert (entry.state, entry.source) == (IndexEntry.State.INDEXED, MODEL_SOURCE)
    assert client.get(SEARCH, {"q": "vase"}).json()["results"][0]["product_id"] == str(product.pk)


def test_delete_of_a_product_that_nobody_posted_is_404(client, woken):
    product = Product.objects.create(name="Green vase", sku="G1")
    assert client.delete(f"/api/v1/products/{product.pk}").status_code == 404


# GET search


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


# Who may, and how often


WRITES = [
    ("post", SYNC),
    ("post", ASYNC),
    ("get", f"/api/v1/index-jobs/{NOBODY}.1"),
    ("delete", "/api/v1/products/test-123"),
]


@pytest.mark.parametrize(("method", "url"), WRITES)
def test_anonymous_and_non_staff_are_refused(method, url, clip_search):
    clip_search(QUEUE="default")
    assert getattr(Client(), method)(url).status_code == 401
    shopper = Client()
    shopper.force_login(get_user_model().objects.create(username="shopper"))
    assert getattr(shopper, method)(url).status_code == 403
    assert not IndexEntry.objects.exists()


@pytest.mark.parametrize(("method", "url"), [write for write in WRITES if write[0] != "get"])
def test_session_clients_need_a_csrf_token(client, method, url):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert getattr(strict, method)(url).status_code == 403
    assert not IndexEntry.objects.exists()


def test_basic_authentication_needs_no_csrf_token(client):
    basic = Client(enforce_csrf_checks=True, headers={"authorization": "Basic c3RhZmY6c2VjcmV0"})
    assert basic.post(SYNC, FIELDS).status_code == 200


def test_permissions_come_from_the_settings(client, clip_search):
    clip_search(
        API_PERMISSION_CLASSES=["rest_framework.permissions.AllowAny"],
        API_SEARCH_PERMISSION_CLASSES=["rest_framework.permissions.IsAuthenticated"],
    )
    assert Client().post(SYNC, FIELDS).status_code == 200
    assert Client().get(SEARCH, {"q": "mug"}).status_code == 401
    assert client.get(SEARCH, {"q": "mug"}).status_code == 200


def test_permission_class_that_cannot_be_imported_refuses(client, clip_search):
    clip_search(API_PERMISSION_CLASSES=["nowhere.Nobody"])
    assert client.post(SYNC, FIELDS).status_code == 503


def test_rates_come_from_the_settings(client, clip_search):
    clip_search(API_THROTTLE_RATE="1/min", API_SEARCH_THROTTLE_RATE="2/min")
    assert client.post(SYNC, FIELDS).status_code == 200
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    assert client.delete("/api/v1/products/x").status_code == 429
    searches = [client.get(SEARCH, {"q": "mug"}).status_code for _ in range(3)]
    assert searches == [200, 200, 429]


def test_no_rate_is_no_limit(client, clip_search):
    clip_search(API_THROTTLE_RATE="1/min", API_SEARCH_THROTTLE_RATE=None)
    client.post(SYNC, FIELDS)
    assert {client.get(SEARCH, {"q": "mug"}).status_code for _ in range(5)} == {200}


def test_hostile_address_breaks_no_cache(client):
    client.post(SYNC, FIELDS)
    hostile = Client(headers={"x-forwarded-for": "a b\x7f" * 200})
    assert hostile.get(SEARCH, {"q": "mug"}).status_code == 200


# Bad input


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"product_id": ""}, "product_id"),
        ({"product_id": None}, "product_id"),
        ({"product_id": "x" * 256}, "product_id"),
        ({"product_id": "a\nb"}, "product_id"),
        ({"product_id": "a\x00b"}, "product_id"),
        ({"product_id": "a\u200bb"}, "product_id"),
        ({"product_id": "\ud800"}, "product_id"),
        ({"product_id": " a"}, "product_id"),
        ({"product_id": ["a"]}, "product_id"),
        ({"product_id": True}, "product_id"),
        ({"name": ""}, "name"),
        ({"name": " \t "}, "name"),
        ({"name": "<b></b>"}, "name"),
        ({"name": "x" * 1001}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"description": "x" * 100_001}, "description"),
        ({"description": "<a" * 900}, "description"),
        ({"metadata": "x" * 1_000_000}, "metadata"),
        ({"metadata": {"a": "x" * 1_000_000}}, "metadata"),
        ({"metadata": {"_clip": 1}}, "metadata"),
        ({"metadata": {"a": [{"_clip": {}}]}}, "metadata"),
        ({"metadata": '{"_clip": 1}'}, "metadata"),
        ({"metadata": "a\x00"}, "metadata"),
        ({"metadata": {"a": "\x00"}}, "metadata"),
        ({"metadata": {"a\x00": 1}}, "metadata"),
        ({"metadata": ["\udfff"]}, "metadata"),
        ({"metadata": "\udfff"}, "metadata"),
        ({"metadata": {"a": 2**64}}, "metadata"),
        ({"metadata": {"price": "dear"}}, "metadata"),
        ({"metadata": {"price": ["1", "dear"]}}, "metadata"),
        ({"metadata": {"price": True}}, "metadata"),
        ({"metadata": {"in_stock": "perhaps"}}, "metadata"),
        ({"metadata": {"released": "soon"}}, "metadata"),
        ({"metadata": {"released": "9999-12-31T23:59:59-23:59"}}, "metadata"),
    ],
)
def test_json_is_refused_by_the_name_of_the_field(client, fields, field):
    body = json.dumps({k: v for k, v in (FIELDS | fields).items() if v is not None})
    answer = client.post(SYNC, body, content_type="application/json")
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert len(answer.content) < 1000
    assert not PostedProduct.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe{}",
        b'{"name": "\xff"}',
        b'{"metadata": NaN}',
        b'{"metadata": 1e999, "name": "a", "product_id": "a"}',
        b'{"metadata": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"metadata": ' + b"[" * 500 + b"]" * 500 + b', "name": "a", "product_id": "a"}',
        b"{" + b" " * 3_000_000 + b"}",
    ],
)
def test_malformed_json_is_400(client, body):
    answer = client.post(SYNC, body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"product_id=a&name=%FF"),
        ("application/x-www-form-urlencoded", b"product_id=a&name=\xff"),
        (
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\r\n--B--\r\n',
        ),
    ],
)
def test_forms_that_are_not_utf8_are_refused_by_the_name_of_the_field(client, content_type, body):
    answer = client.post(SYNC, body, content_type=content_type)
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["name"][0]


def test_forms_in_utf8_arrive_as_they_are(client):
    body = "product_id=%C3%A4&name=gr%C3%BCne+Tasse&description=café".encode()
    assert client.post(SYNC, body, content_type="application/x-www-form-urlencoded").status_code == 200
    client.post(SYNC, FIELDS | {"product_id": "ß", "description": "thé 💡"})
    assert {(p.product_id, p.description) for p in PostedProduct.objects.all()} == {
        ("ä", "café"),
        ("ß", "thé 💡"),
    }


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json; charset=bz2_codec", b"{}"),
        ("application/json; charset=utf-7", b"{}"),
        ("application/json; charset=nonsense", b"{}"),
        ("application/x-www-form-urlencoded; charset=latin-1", b"name=\xff"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=\xff", b"x"),
        ("multipart/form-data; boundary=B", b"x"),
        ("multipart/form-data; boundary=B", b'--B\r\nContent-Disposition: form-data; name="name"'),
        (
            "multipart/form-data; boundary=B",
            b'--B\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n!\r\n--B--\r\n",
        ),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(2000))),
    ],
)
@pytest.mark.parametrize("url", [SYNC, ASYNC])
def test_odd_bodies_are_400(client, url, content_type, body):
    answer = client.generic("POST", url, body, content_type=content_type)
    assert answer.status_code == 400
    assert answer.json()


def test_charset_of_a_query_changes_nothing(client):
    client.post(SYNC, FIELDS)
    url, odd = f"{SEARCH}?q=%6D%75%67", "text/plain; charset=utf-16"
    assert client.generic("GET", url, b"x", content_type=odd).json() == client.get(url).json()


def test_unknown_content_type_is_415(client):
    assert client.post(SYNC, b"<a/>", content_type="text/xml").status_code == 415


def test_client_that_hangs_up_gets_a_400(client, monkeypatch):
    monkeypatch.setattr("django.core.handlers.wsgi.LimitedStream.read", broken(OSError("gone")))
    monkeypatch.setattr("django.test.client.FakePayload.read", broken(OSError("gone")))
    assert client.post(SYNC, b"{}", content_type="application/json").status_code == 400


@pytest.mark.parametrize("length", ["x", "-1", "", None])
def test_odd_content_length_is_400(client, length):
    answer = client.post(SYNC, b"{}", content_type="application/json", CONTENT_LENGTH=length)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "mug.jpg"),
        (b"I am no picture.", "mug.jpg"),
        (picture_bytes(fmt="JPEG")[:20], "mug.jpg"),
        (picture_bytes(size=1), "mug.png"),
        (huge_png(), "mug.png"),
        (b"%PDF-1.4", "mug.png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "mug.svg"),
        (picture_bytes(fmt="BMP"), "mug.jpg"),
    ],
)
def test_bad_images_are_refused_by_name(client, woken, media, data, name):
    answer = post_image(client, data, name)
    assert answer.status_code == 400
    assert list(answer.json()) == ["image_file"]
    assert not media.exists() or not list(media.rglob("*.*"))
    assert not PostedProduct.objects.exists()


@pytest.mark.parametrize("value", [None, "text"])
def test_no_file_is_refused_by_name(client, value):
    answer = client.post(ASYNC, FIELDS | ({"image_file": value} if value else {}))
    assert (answer.status_code, list(answer.json())) == (400, ["image_file"])
    answer = client.post(ASYNC, json.dumps(FIELDS), content_type="application/json")
    assert "multipart/form-data" in answer.json()["image_file"][0]


def test_file_over_the_limit_is_refused_by_name_and_setting(client, clip_search):
    clip_search(MAX_IMAGE_BYTES=50)
    answer = post_image(client)
    assert answer.status_code == 400
    assert "MAX_IMAGE_BYTES" in answer.json()["image_file"][0]


def test_body_over_the_limit_is_refused_before_it_is_read(client, clip_search, monkeypatch):
    clip_search(MAX_IMAGE_BYTES=1000)
    monkeypatch.setattr("rest_framework.parsers.MultiPartParser.parse", broken(AssertionError("read")))
    answer = post_image(client, bytes(views.MAX_TEXT_BODY + 1000))
    assert answer.status_code == 400
    assert "MAX_IMAGE_BYTES" in answer.json()["image_file"][0]


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_only_forms_with_files_may_be_as_large_as_an_image(client, content_type):
    body = b'{"metadata": [' + b"[]," * 900_000 + b"1]}"
    answer = client.post(ASYNC, body, content_type=content_type)
    assert answer.status_code == 400
    assert str(views.MAX_TEXT_BODY) in answer.json()["detail"]


def test_django_s_own_limit_is_400(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    for body in (json.dumps(FIELDS | {"description": "x" * 2000}), FIELDS | {"description": "x" * 2000}):
        kind = {"content_type": "application/json"} if isinstance(body, str) else {}
        answer = client.post(SYNC, body, **kind)
        assert answer.status_code == 400
        assert "DATA_UPLOAD_MAX_MEMORY_SIZE" in answer.json()["detail"]


@pytest.fixture
def uploads(settings, tmp_path) -> Path:
    """Stream every upload through a temporary file, in a folder of its own."""
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()
    return settings.FILE_UPLOAD_TEMP_DIR


def test_no_temporary_file_is_left(client, woken, uploads):
    assert post_image(client).status_code == 202
    assert post_image(client, b"no picture").status_code == 400
    half = b'--B\r\nContent-Disposition: form-data; name="image_file"; filename="f"\r\n'
    half += b"Content-Transfer-Encoding: base64\r\n\r\nAAAA!\r\n--B--\r\n"
    answer = client.generic("POST", ASYNC, half, content_type="multipart/form-data; boundary=B")
    assert answer.status_code == 400
    assert list(uploads.iterdir()) == []


def test_large_valid_odd_images_are_kept(client, woken, uploads):
    buffer = io.BytesIO()
    Image.new("CMYK", (300, 200)).save(buffer, "JPEG")
    assert post_image(client, buffer.getvalue()).status_code == 202
    with PostedProduct.objects.get().image.open() as stored:
        assert stored.read() == buffer.getvalue()


# Transactions


def test_endpoints_run_outside_atomic_requests():
    urls = [pattern.callback for pattern in sys.modules["clip_search.api.urls"].urlpatterns]
    assert all(set(connections) <= view._non_atomic_requests for view in urls)


@pytest.mark.sql
@pytest.mark.django_db(transaction=True)
def test_answer_comes_after_the_commit_under_atomic_requests(client, woken, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    seen = []
    monkeypatch.setattr(queue, "wake", lambda document: seen.append(connection.in_atomic_block) or True)
    assert post_image(client).status_code == 202
    assert seen == [False]


# Metadata


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("extra-data", "extra-data"),
        ("", None),
        (None, None),
        ("  ", None),
        ("123", "123"),
        ("NaN", "NaN"),
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("{'a': None, 'b': (1, True)}", "{'a': None, 'b': (1, True)}"),
        (str({"price": 4.5, "tag": ["a"]}), "{'price': 4.5, 'tag': ['a']}"),
        ("{'_clip': 1}", "{'_clip': 1}"),
        ("{1, 2}", "{1, 2}"),
        ("{'a': b'x'}", "{'a': b'x'}"),
        ('{"a": NaN}', '{"a": NaN}'),
        ("{'a': 1e999}", "{'a': 1e999}"),
        ("{'a': __import__('os')}", "{'a': __import__('os')}"),
        ("{broken", "{broken"),
        ("{'a':" * 1000, "{'a':" * 1000),
        ("[" + "-" * 60_000 + "1]", "[" + "-" * 60_000 + "1]"),
        ("[" * 30_000, "[" * 30_000),
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        (7, 7),
    ],
)
def test_metadata_is_free_text_or_json(sent, kept):
    field = serializers.MetadataField(allow_null=True)
    assert field.run_validation(sent) == kept


def test_metadata_is_promoted_to_filters(client, document):
    meta = {"price": "4.50", "in_stock": "true", "category": "kitchen", "colour": "red"}
    client.post(SYNC, FIELDS | {"metadata": json.dumps(meta)})
    payload = client.get(SEARCH, {"q": "mug"}).json()["results"][0]["payload"]
    assert payload["metadata"] == meta
    assert (payload["price"], payload["in_stock"], payload["category"]) == (4.5, True, "kitchen")
    assert "colour" not in payload


def test_metadata_field_gives_back_what_it_has():
    assert serializers.MetadataField().to_representation({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("value", [object(), b"x"])
def test_metadata_of_another_kind_is_refused(value):
    with pytest.raises(serializers.serializers.ValidationError):
        serializers.MetadataField().run_validation(value)


def test_deep_nesting_is_refused_without_recursion():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert "nested" in metadata.mistake(value)
    while value:  # taken apart by hand: deleting it at once would recurse
        value = value.pop()


def test_a_failed_job_does_not_read_as_done_while_the_next_one_waits(client, document):
    job = post_image(client, damaged()).json()["status_url"]
    assert client.get(job).json()["status"] == "failed"
    IndexEntry.objects.mark_changed(document, ["test-123"])
    assert client.get(job).json()["status"] == "queued"
