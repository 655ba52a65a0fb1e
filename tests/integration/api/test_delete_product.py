"""DELETE products."""

from __future__ import annotations

import pytest
from django.urls import reverse

from clip_search import jobs
from clip_search.models import IndexEntry
from clip_search.types import MODEL_SOURCE
from tests.shops.shop.models import Product

from .actions import FIELDS, SEARCH, SYNC, entry_of, post_image

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
