"""Backups of the database and of Qdrant, taken one after the other while the shop goes on, and restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models

from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from tests.doubles.qdrant_stub import StubQdrant, serving
from tests.shops.shop.models import Product

from .actions import collection, complain, names_in, run

pytestmark = pytest.mark.django_db
TABLES = (Product, IndexEntry, Collection)


@pytest.fixture
def qdrant(settings) -> Iterator[StubQdrant]:
    with serving() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url}}
        yield stub


def add(sku: str) -> None:
    """Create a product without signals."""
    Product.objects.bulk_create([Product(sku=sku, name="Mug")])


def dump() -> dict[Any, list[Any]]:
    """Back up the database."""
    return {table: list(table.objects.all()) for table in TABLES}


def snapshot(qdrant: StubQdrant) -> list[models.PointStruct]:
    """Back up the live collection, deleted products included."""
    records, _ = qdrant.client.scroll(collection(), limit=1000, with_payload=True, with_vectors=True)
    return [
        models.PointStruct(**record.model_dump(include={"id", "payload", "vector"})) for record in records
    ]


def restore(qdrant: StubQdrant, rows: dict[Any, list[Any]], points: list[models.PointStruct]) -> None:
    for table in TABLES:
        table.objects.all()._raw_delete("default")
        table.objects.bulk_create(rows[table])
    qdrant.client.delete(collection(), models.FilterSelector(filter=models.Filter()))
    qdrant.client.upsert(collection(), points)


def skus() -> set[str]:
    return set(Product.objects.values_list("sku", flat=True))


@pytest.mark.parametrize("database_first", [True, False])
def test_clip_verify_repairs_what_changed_between_two_backups_and_clip_reindex_does_not(
    qdrant, database_first
):
    for sku in ("kept", "changed", "deleted"):
        add(sku)
    run("clip_reindex")
    rows, points = dump(), snapshot(qdrant)
    add("added")
    Product.objects.filter(sku="changed").update(sku="renamed")
    Product.objects.filter(sku="deleted")._raw_delete("default")
    run("clip_reindex")
    if database_first:
        points = snapshot(qdrant)
    else:
        rows = dump()
    restore(qdrant, rows, points)

    assert "run `manage.py clip_verify product`" in complain("clip_reindex")
    assert names_in(collection()) > skus()
    run("clip_verify")
    assert names_in(collection()) == skus()
    assert get_store().count(collection()) == len(skus()) == 3
    run("clip_verify", "product", "--dry-run")  # fails if something differs
