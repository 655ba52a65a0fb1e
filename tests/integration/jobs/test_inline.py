"""Indexing in the process that saves or posts."""

from __future__ import annotations

import logging
from contextlib import suppress
from types import SimpleNamespace

import pytest
from django.db import transaction

from clip_search import indexing, outbox
from clip_search.encoders import get_encoder
from clip_search.exceptions import StoreUnavailable
from clip_search.indexing import inline, related
from clip_search.models import IndexEntry, RelatedChange
from clip_search.stores import get_store
from tests.doubles.stores import FaultyStore, down
from tests.shops.shop.models import Category, Product

from .actions import DOCUMENT, INDEXED, PENDING, collection, many, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]

# At once.


@pytest.fixture
def sleeps(monkeypatch) -> list[float]:
    """List the seconds that `index_now` sleeps, which pass by its clock alone."""
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(inline, "time", clock)
    return slept


def test_index_now_waits_for_whoever_holds_the_entry(queue, sleeps, monkeypatch):
    product = Product.objects.create(name="Mug", sku="M")
    held = IndexEntry.objects.of(DOCUMENT).claim(1, indexing.LEASE)
    give_back = IndexEntry.objects.of(DOCUMENT).release
    monkeypatch.setattr(
        inline.time, "sleep", lambda seconds: (sleeps.append(seconds), len(sleeps) == 3 and give_back(held))
    )
    assert inline.index_now(DOCUMENT, str(product.pk)).state == INDEXED
    assert len(sleeps) == 3


def test_index_now_gives_up_in_time_and_the_product_is_still_due(queue, sleeps):
    product = Product.objects.create(name="Mug", sku="M")
    IndexEntry.objects.of(DOCUMENT).claim(1, indexing.LEASE)
    assert inline.index_now(DOCUMENT, str(product.pk)).state == PENDING
    assert 5 < sum(sleeps) < 5.1


def test_index_now_says_what_is_away(queue):
    product = Product.objects.create(name="Mug", sku="M")
    FaultyStore.faults = down(1)
    with pytest.raises(StoreUnavailable):
        inline.index_now(DOCUMENT, str(product.pk))
    assert states() == {PENDING}


def test_index_now_indexes_one_product_and_no_other(queue):
    many(3)
    product = Product.objects.create(name="Mug", sku="M")
    assert inline.index_now(DOCUMENT, str(product.pk)).state == INDEXED
    assert IndexEntry.objects.filter(state=PENDING).count() == 3


# Without a queue.


def test_without_a_queue_the_save_indexes(settings):
    product = Product.objects.create(name="Mug", sku="M")
    assert states() == {INDEXED}
    with transaction.atomic():
        product.name = "Cup"
        product.save()
        assert states() == {PENDING}
    assert states() == {INDEXED}
    assert get_encoder().texts == ["Mug", "Cup"]


def test_without_a_queue_a_save_leaves_alone_what_others_have_to_do():
    many(3)
    Product.objects.create(name="Mug", sku="M")
    assert IndexEntry.objects.filter(state=PENDING).count() == 3


def test_without_a_queue_a_related_change_indexes_its_products():
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    Product.objects.create(name="Mug", sku="M", category=category)
    category.slug = "cookware"
    category.save()
    assert states() == {INDEXED}
    assert not RelatedChange.objects.exists()
    assert get_store().facet(collection(), "category") == {"cookware": 1}


def test_without_a_queue_a_store_that_is_away_fails_no_save(caplog):
    caplog.set_level(logging.ERROR)
    FaultyStore.faults = down(1)
    Product.objects.create(name="Mug", sku="M")
    assert states() == {PENDING}
    assert "Cannot index" in caplog.text


def test_what_was_rolled_back_wakes_nobody_later(monkeypatch):
    woken = []
    monkeypatch.setattr(outbox, "index_here", lambda document, ids: woken.append((document.name, set(ids))))
    with suppress(ZeroDivisionError), transaction.atomic():
        Product.objects.create(name="Rolled back")
        raise ZeroDivisionError
    with transaction.atomic():
        kept = Product.objects.create(name="Kept")
    assert woken == [("product", {str(kept.pk)})]


def test_very_many_products_are_one_row_until_a_worker_expands_it(monkeypatch):
    monkeypatch.setattr(outbox, "ROWS_PER_STATEMENT", 10)
    assert outbox.schedule(DOCUMENT, [str(n) for n in range(25)], wake=False) == 25
    assert RelatedChange.objects.get().product_ids == [str(n) for n in range(25)]
    assert not IndexEntry.objects.exists()
    related.expand_related(DOCUMENT)
    assert IndexEntry.objects.count() == 25
