"""A host whose requests are transactions, as ATOMIC_REQUESTS asks: the index follows what they commit."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from clip_search import jobs, outbox, queue
from clip_search.documents.registry import registry
from clip_search.models import IndexEntry, PostedProduct
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Article, Category, Product

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.urls(__name__),
    pytest.mark.sql,
]


def save(request: HttpRequest) -> HttpResponse:
    Product.objects.create(name="Red mug", sku="M1")
    return HttpResponse("saved")


def fail(request: HttpRequest) -> HttpResponse:
    save(request)
    raise ZeroDivisionError


def change_mind(request: HttpRequest) -> HttpResponse:
    """Roll a savepoint back, and commit the rest."""
    Product.objects.create(name="Red mug", sku="M1")
    try:
        with transaction.atomic():
            Product.objects.create(name="Blue mug", sku="M2")
            raise ZeroDivisionError
    except ZeroDivisionError:
        return HttpResponse("half")


def in_bulk(request: HttpRequest) -> HttpResponse:
    made = Product.objects.bulk_create([Product(name=f"Mug {number}", sku="M") for number in range(20)])
    ProductDocument.reindex(made)
    Product.objects.filter(pk=made[0].pk).delete()
    return HttpResponse("made")


def both(request: HttpRequest) -> HttpResponse:
    """Save on both databases, and fail: the other one is no part of the request's transaction."""
    Article.objects.using("other").create(title="About mugs")
    return fail(request)


urlpatterns = [
    path("api/v1/", include("clip_search.api.urls")),
    path("admin/", admin.site.urls),
    *(path(view.__name__, view) for view in (save, fail, change_mind, in_bulk, both)),
]


@pytest.fixture(autouse=True)
def atomic(monkeypatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


@pytest.fixture(autouse=True)
def woken(settings, monkeypatch) -> list[tuple[str, bool]]:
    """Return which documents were announced, and whether that was inside a transaction."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}
    found: list[tuple[str, bool]] = []

    def note(document) -> bool:
        found.append((document.name, connections[document.using].in_atomic_block))
        return True

    monkeypatch.setattr(queue, "wake", note)
    return found


@pytest.fixture
def client() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(get_user_model().objects.create_superuser("staff"))
    return client


def in_step() -> int:
    """Index what is due, and say how many products are indexed: as many as there are rows."""
    jobs.index_due("product")
    rows = {str(pk) for pk in Product.objects.values_list("pk", flat=True)}
    indexed = IndexEntry.objects.of(registry.get("product")).filter(state=IndexEntry.State.INDEXED)
    assert set(indexed.values_list("product_id", flat=True)) == rows
    return len(rows)


def test_a_save_is_announced_once_after_the_commit(client, woken):
    assert client.get("/save").status_code == 200
    assert woken == [("product", False)]
    assert in_step() == 1


def test_a_request_that_fails_leaves_nothing(client, woken):
    assert client.get("/fail").status_code == 500
    assert (woken, IndexEntry.objects.count(), in_step()) == ([], 0, 0)


def test_a_savepoint_that_is_rolled_back_leaves_nothing(client, woken):
    client.get("/change_mind")
    assert (woken, IndexEntry.objects.count(), in_step()) == ([("product", False)], 1, 1)


def test_bulk_and_delete_in_one_request(client, woken):
    client.get("/in_bulk")
    assert woken == [("product", False)]
    assert in_step() == 19


def test_a_second_database_keeps_what_it_committed(client, woken):
    assert client.get("/both").status_code == 500
    assert woken == [("article", False)]
    assert IndexEntry.objects.using("other").count() == Article.objects.using("other").count() == 1
    assert in_step() == 0


def test_the_admin_is_announced_after_the_commit(client, woken):
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    woken.clear()  # a category may have products
    fields = {"name": "Mug", "sku": "M1", "category": category.pk, "price": 1, "views": 0, "is_public": "on"}
    assert client.post("/admin/shop/product/add/", fields).status_code == 302
    assert woken == [("product", False)]
    product = Product.objects.get()
    selected = {"action": "reindex_selected", "_selected_action": [product.pk]}
    assert client.post("/admin/shop/product/", selected).status_code == 302
    assert woken == [("product", False)] * 2
    assert in_step() == 1


def test_an_endpoint_commits_before_it_answers_and_nothing_where_it_fails(client, woken, monkeypatch):
    def post() -> int:
        image = SimpleUploadedFile("mug.png", picture_bytes())
        whole = {"product_id": "p-1", "name": "Mug", "image_file": image}
        return client.post("/api/v1/index-product-with-image", whole).status_code

    def cannot(*args: object, **kwargs: object) -> None:
        raise OperationalError

    assert post() == 202
    assert woken == [("product", False)]
    with monkeypatch.context() as patching:
        patching.setattr(outbox, "schedule", cannot)
        assert post() == 503
        assert client.delete("/api/v1/products/p-1").status_code == 503
    assert PostedProduct.objects.count() == 1
    assert IndexEntry.objects.get().revision == 1
    assert client.delete("/api/v1/products/p-1").status_code == 204
    assert (PostedProduct.objects.count(), IndexEntry.objects.get().revision) == (0, 2)
