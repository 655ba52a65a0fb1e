"""Hits whose row is gone, unpublished or was only posted."""

from __future__ import annotations

import pytest
from django.core.validators import validate_slug
from django.db import DatabaseError

from clip_search.models import IndexEntry
from clip_search.types import POSTED_SOURCE
from tests.conftest import forget_declarations
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import fail_with, index, index_due, keys, make, post, unpublish

pytestmark = pytest.mark.django_db


@pytest.fixture
def ranked(shop, document) -> list[Product]:
    """The shop's products in the order of one search."""
    return list(ProductDocument.search("a red mug", everything=True))


def test_what_is_gone_is_dropped_and_the_page_still_full(ranked):
    gone, left = ranked[2:9], [*ranked[:2], *ranked[9:]]
    unpublish(gone)
    results = ProductDocument.search("a red mug", everything=True)
    assert list(results[:10]) == left[:10]
    assert list(results[10:20]) == left[10:20]
    assert results.count() == 53
    assert [hit.instance for hit in results[:10].hits(with_rows=True)] == left[:10]


def test_hits_do_not_look_at_the_rows(ranked, django_assert_num_queries):
    unpublish(ranked[:5])
    with django_assert_num_queries(1):
        hits = list(ProductDocument.search("a red mug", everything=True)[:10].hits())
    assert [int(hit.product_id) for hit in hits] == keys(ranked[:10])
    assert not IndexEntry.objects.filter(state="pending").exists()
    shown = list(ProductDocument.search("a red mug", everything=True)[:10].hits(with_rows=True))
    assert [hit.instance for hit in shown] == ranked[5:15]


def test_most_of_the_list_is_gone(ranked):
    unpublish(ranked[:58])
    assert list(ProductDocument.search("a red mug", everything=True)[:10]) == ranked[58:]
    unpublish(ranked)
    assert list(ProductDocument.search("a red mug", everything=True)[:10]) == []


def test_a_page_stays_full_when_more_than_a_spare_is_gone(document):
    products = make(f"red mug {n}" for n in range(300))
    index(document)
    order = keys(ProductDocument.search("the red mug", everything=True))
    Product.objects.filter(pk__in=order[:250]).update(is_public=False)
    assert keys(ProductDocument.search("the red mug", everything=True)[:10]) == order[250:260]
    assert len(products) == 300


def test_a_row_is_found_that_its_own_validators_would_refuse(document, monkeypatch):
    monkeypatch.setattr(Product._meta.get_field("sku"), "validators", [validate_slug])
    monkeypatch.setattr(ProductDocument, "id_field", "sku")
    forget_declarations()
    products = Product.objects.bulk_create(
        [Product(name="red mug", sku="A B/1"), Product(name="mug", sku="B")]
    )
    index(document)
    assert list(ProductDocument.search("the red mug", everything=True)) == products
    assert ProductDocument.search("the red mug", everything=True)[:1].hits()[0].product_id == "A B/1"


def test_a_row_whose_own_method_raises_breaks_no_page(few, monkeypatch, client):
    monkeypatch.setattr(ProductDocument, "should_index", lambda self, obj: 1 / (obj.pk - few[0].pk))
    assert set(ProductDocument.search("a mug")) == set(few)
    assert client.get("/api/v1/search?q=a+mug").json()["count"] == 6


def test_what_is_gone_is_marked_once_and_then_removed(ranked, document):
    unpublish(ranked[:3])
    before = dict(IndexEntry.objects.values_list("product_id", "revision"))
    list(ProductDocument.search("a red mug", everything=True)[:5])
    marked = IndexEntry.objects.filter(state=IndexEntry.State.PENDING)
    assert {entry.product_id for entry in marked} == {str(product.pk) for product in ranked[:3]}
    list(ProductDocument.search("a red mug", everything=True)[:5])
    assert {entry.revision - before[entry.product_id] for entry in marked} == {1}
    index_due(document)
    assert IndexEntry.objects.filter(state=IndexEntry.State.REMOVED).count() == 3
    assert ProductDocument.search("a red mug", everything=True).count() == 57


def test_an_entry_that_was_lost_is_made_again(ranked):
    unpublish(ranked[:1])
    IndexEntry.objects.all().delete()
    list(ProductDocument.search("a red mug", everything=True)[:5])
    assert IndexEntry.objects.get().product_id == str(ranked[0].pk)


def test_what_somebody_posted_meanwhile_is_left_to_them(ranked):
    unpublish(ranked[:1])
    IndexEntry.objects.filter(product_id=str(ranked[0].pk)).update(source=POSTED_SOURCE, state="failed")
    list(ProductDocument.search("a red mug", everything=True)[:5])
    entry = IndexEntry.objects.get(product_id=str(ranked[0].pk))
    assert (entry.source, entry.state, entry.revision) == (POSTED_SOURCE, "failed", 1)


def test_a_page_is_shown_where_nothing_can_be_marked(ranked, monkeypatch, caplog):
    unpublish(ranked[:3])
    monkeypatch.setattr(type(IndexEntry.objects.all()), "mark_changed", fail_with(DatabaseError("read-only")))
    assert list(ProductDocument.search("a red mug", everything=True)[:5]) == ranked[3:8]
    assert "read-only" in caplog.text
    assert Product.objects.count() == 60


def test_a_posted_product_without_a_row_is_a_hit_and_no_orphan(shop, document):
    post(document, "test-123", "a shiny red mug", colour="red")
    results = ProductDocument.search("a shiny red mug", everything=True).hits(with_rows=True)
    first = results[:3][0]
    assert (first.product_id, first.source, first.instance) == ("test-123", POSTED_SOURCE, None)
    assert first.payload["metadata"] == {"colour": "red"}
    assert IndexEntry.objects.get(product_id="test-123").revision == 1
    pages = [hit for start in range(0, 61, 10) for hit in results[start : start + 10]]
    assert len({hit.product_id for hit in pages}) == len(pages) == results.count() == 61


def test_a_posted_product_with_a_row_is_an_instance(shop, document):
    post(document, str(shop[5].pk), "a shiny red mug")
    hit = ProductDocument.search("a shiny red mug", everything=True)[:1].hits(with_rows=True)[0]
    assert (hit.instance, hit.source) == (shop[5], POSTED_SOURCE)
    unpublish(shop[5:6])
    hit = ProductDocument.search("a shiny red mug", everything=True)[:1].hits(with_rows=True)[0]
    assert (hit.instance, hit.source) == (None, POSTED_SOURCE)
    assert IndexEntry.objects.get(product_id=str(shop[5].pk)).state == IndexEntry.State.INDEXED


@pytest.mark.parametrize("order", [(), ("price",)])
def test_what_is_gone_leaves_what_words_find_whole(shop, document, order):
    found = list(ProductDocument.search("red -towel").order_by(*order))
    gone, left = [*found[:2], found[5]], [*found[2:5], *found[6:]]
    unpublish(gone)
    results = ProductDocument.search("red -towel").order_by(*order)
    pages = [list(results[start : start + 3]) for start in (0, 3, 6)]
    assert [product for page in pages for product in page] == left
    assert (results.count(), len(list(results))) == (6, 6)
    index_due(document)
    results = ProductDocument.search("red -towel").order_by(*order)
    assert (set(results), results.count()) == (set(left), 6)
