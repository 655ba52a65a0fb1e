"""If `migrate` was forgotten, everything says so in a sentence."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client

from clip_search import SearchUnavailable
from clip_search.models import Collection, IndexEntry, PostedProduct, RelatedChange
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]
TABLES = [model._meta.db_table for model in (Collection, IndexEntry, PostedProduct, RelatedChange)]
REMEDY = r"clip_search_.*Run `manage\.py migrate`\.$"


def rename(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


@pytest.fixture
def product() -> Product:
    return Product.objects.create(name="Red mug", sku="M-1")


@pytest.fixture
def without_tables(product) -> Iterator[None]:
    for table in TABLES:
        rename(table, f"gone_{table[12:]}")
    yield
    for table in TABLES:
        rename(f"gone_{table[12:]}", table)


@pytest.fixture
def boss(without_tables) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(get_user_model().objects.create_superuser("boss"))
    return client


@pytest.mark.parametrize("command", ["clip_status", "clip_reindex", "clip_rebuild", "clip_verify"])
@pytest.mark.usefixtures("without_tables")
def test_commands(command):
    output = io.StringIO()
    with pytest.raises(CommandError, match=REMEDY):
        call_command(command, "product", stdout=output, stderr=output)


@pytest.mark.usefixtures("without_tables")
def test_saves_and_searches(product):
    with pytest.raises(DatabaseError, match=REMEDY):
        product.save()
    with pytest.raises(DatabaseError, match=REMEDY):
        ProductDocument.reindex(Product.objects.all())
    with pytest.raises(SearchUnavailable, match=REMEDY):
        list(ProductDocument.search("mug"))


def test_the_admin(boss, product):
    for path in ("", "?q=mug"):
        page = boss.get(f"/admin/shop/product/{path}")
        assert page.status_code == 200
        assert "Run `manage.py migrate`." in page.content.decode()
        assert "Red mug" in page.content.decode()
    action = {"action": "reindex_selected", "_selected_action": [product.pk]}
    page = boss.post("/admin/shop/product/", action, follow=True)
    assert "Run `manage.py migrate`." in page.content.decode()
    for model in ("indexentry", "collection", "postedproduct"):
        page = boss.get(f"/admin/clip_search/{model}/", follow=True)
        assert page.redirect_chain == [("/admin/", 302)]
        assert "Run `manage.py migrate`." in page.content.decode()


def test_endpoints(boss, caplog):
    posted = {"product_id": "P-1", "name": "Mug"}
    assert boss.get("/api/v1/search?q=mug").status_code == 503
    assert boss.post("/api/v1/index-product", posted, content_type="application/json").status_code == 503
    assert boss.delete("/api/v1/products/P-1").status_code == 503
    logged = [record for record in caplog.records if record.name == "clip_search.api.errors"]
    assert len(logged) == 3
    for record in logged:
        assert record.levelno >= logging.WARNING
        assert record.getMessage().endswith("Run `manage.py migrate`.")
        assert record.exc_info is None


def test_a_missing_column_too(product):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE clip_search_collection RENAME COLUMN multiple_images TO gone")
    try:
        with pytest.raises(SearchUnavailable, match=r"multiple_images.*Run `manage\.py migrate`\.$"):
            list(ProductDocument.search("mug"))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE clip_search_collection RENAME COLUMN gone TO multiple_images")


def test_other_errors_of_a_database_stay_as_they_are(monkeypatch, product):
    def fail(self, document):
        raise DatabaseError("disk I/O error")

    monkeypatch.setattr(type(Collection.objects.all()), "of", fail)
    monkeypatch.setattr(type(Collection.objects.all()), "live", fail)
    with pytest.raises(DatabaseError, match=r"^disk I/O error$"):
        list(ProductDocument.search("mug"))
    output = io.StringIO()
    with pytest.raises(CommandError, match=r"^product cannot be read: disk I/O error$"):
        call_command("clip_status", "product", stdout=output, stderr=output)
