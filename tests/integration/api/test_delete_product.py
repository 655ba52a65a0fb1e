"""DELETE products."""

from __future__ import annotations

import pytest
from django.urls import reverse

from clip_search import jobs
from clip_search.encoders import get_encoder
from clip_search.exceptions import StoreUnavailable
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.types import MODEL_SOURCE, POSTED_SOURCE, Point, Stamp
from tests.shops.shop.models import Product

from .actions import FIELDS, SEARCH, SYNC, broken, entry_of, post_image

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "product_id", ["test-123", "a/b", "a//b/similar", "ä b%2F?#+&;", "💡", "...", ".x/y.."]
)
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


def bring_back(document, product_id: str) -> None:
    """Restore a point of which the database knows nothing, as a restored snapshot of the store has it."""
    encoder = get_encoder()
    stamp = Stamp(product_id=product_id, revision=7, source=POSTED_SOURCE, fingerprint=encoder.fingerprint)
    vectors = {"text": encoder.embed_texts(["Red mug"])[0]}
    point = Point(id=document.point_id(product_id), stamp=stamp, vectors=vectors)
    get_store().put(Collection.objects.live(document).name, [point])


@pytest.mark.parametrize("was_deleted", [True, False])
def test_delete_removes_what_only_the_index_has(client, woken, document, was_deleted):
    client.post(SYNC, FIELDS | {"product_id": "other"})
    if was_deleted:
        client.post(SYNC, FIELDS)
        client.delete("/api/v1/products/test-123")
        jobs.index_due("product")
        IndexEntry.objects.filter(product_id="test-123").update(revision=3)  # of a restored database
    bring_back(document, "test-123")
    everything = {"q": "red mug", "everything": "true"}  # what is brought back has no words
    assert client.get(SEARCH, everything).json()["count"] == 2
    assert client.delete("/api/v1/products/test-123").status_code == 204
    jobs.index_due("product")
    assert [r["product_id"] for r in client.get(SEARCH, everything).json()["results"]] == ["other"]
    assert client.delete("/api/v1/products/test-123").status_code == 404


def test_delete_is_503_if_only_the_index_could_know_the_product_and_it_does_not_answer(
    client, woken, monkeypatch
):
    client.post(SYNC, FIELDS)
    monkeypatch.setattr(get_store(), "get", broken(StoreUnavailable()))
    assert client.delete("/api/v1/products/unknown").status_code == 503
    assert client.delete("/api/v1/products/test-123").status_code == 204


def test_delete_is_404_if_nothing_was_ever_indexed(client, woken):
    assert client.delete("/api/v1/products/unknown").status_code == 404
