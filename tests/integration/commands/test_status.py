"""clip_status."""

from __future__ import annotations

import pytest

from clip_search import outbox
from clip_search.exceptions import StoreUnavailable
from clip_search.models import Collection, RelatedChange
from tests.doubles.stores import FaultyStore
from tests.shops.shop.models import Product

from .actions import DOCUMENT, collection, complain, make, run

pytestmark = pytest.mark.django_db


def test_status_says_what_there_is():
    make(3)
    run("clip_reindex")
    outbox.schedule(DOCUMENT, [str(Product.objects.first().pk)], wake=False)
    said = run("clip_status")
    assert "product (shop.Product)\n" in said
    assert f"collection {collection()} (live): 3 points, 256 dimensions, model hashing-enco" in said
    assert "  indexed: 2\n" in said
    assert "  pending: 1, longest since 2" in said


def test_status_says_that_nothing_can_be_found_and_what_is_still_to_be_followed():
    make(2)
    run("clip_reindex")
    RelatedChange.objects.create(document="product", model="shop.category", object_id="1", path="products")
    assert "  related changes to follow: 1\n" in run("clip_status")
    Collection.objects.all().delete()
    said = complain("clip_status").splitlines()[-1]
    assert said == "nothing of product can be found, but it has 2 rows: run `manage.py clip_reindex product`"


def test_status_exits_with_an_error_where_something_is_wrong(monkeypatch):
    Product.objects.bulk_create([Product(name="", sku="N")])
    complain("clip_reindex")
    assert complain("clip_status").endswith("1 of product failed")

    def refuse(self, name, **conditions):
        raise StoreUnavailable

    monkeypatch.setattr(FaultyStore, "count", refuse)
    assert "Qdrant did not answer" in complain("clip_status")
