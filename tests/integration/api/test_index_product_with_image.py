"""POST index-product-with-image."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, OperationalError, connections
from django.test import Client, override_settings
from django.urls import include, path
from PIL import Image

from clip_search import outbox
from clip_search.exceptions import StoreUnavailable
from clip_search.indexing import inline
from clip_search.models import IndexEntry, PostedProduct

from .actions import FIELDS, SEARCH, SYNC, broken, damaged, entry_of, image_file, post_image

pytestmark = pytest.mark.django_db
urlpatterns = [path("shop/v2/", include(("clip_search.api.urls", "clip_search"), namespace="nested"))]

# POST index-product-with-image.


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


# Bad input.


def test_large_valid_odd_images_are_kept(client, woken, uploads):
    buffer = io.BytesIO()
    Image.new("CMYK", (300, 200)).save(buffer, "JPEG")
    assert post_image(client, buffer.getvalue()).status_code == 202
    with PostedProduct.objects.get().image.open() as stored:
        assert stored.read() == buffer.getvalue()
