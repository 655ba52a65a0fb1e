"""The sweep wakes a worker for entries whose wake-up was lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from clip_search import indexing, jobs
from clip_search.models import IndexEntry, RelatedChange
from clip_search.models.entries import IndexEntryQuerySet
from tests.shops.shop.models import Category, Product

from .actions import DOCUMENT, two_databases

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]


@two_databases
def test_the_sweep_wakes_for_what_was_forgotten(queue):
    Product.objects.create(name="Mug", sku="M")
    queue.connection.flushall()
    assert jobs.sweep() == 1
    assert [job.args for job in queue.jobs] == [["product"]]
    jobs.index_due("product")
    assert jobs.sweep() == 0


@two_databases
def test_the_sweep_wakes_for_a_related_change(queue):
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    RelatedChange.objects.all().delete()
    queue.empty()
    assert jobs.sweep() == 0
    category.save()
    queue.empty()
    assert jobs.sweep() == 1


@two_databases
def test_the_sweep_leaves_alone_what_is_not_due(queue):
    Product.objects.create(name="Mug", sku="M")
    queue.empty()
    IndexEntry.objects.update(not_before=timezone.now() + timedelta(minutes=1), attempts=1)
    assert jobs.sweep() == 0
    IndexEntry.objects.update(not_before=timezone.now())
    IndexEntry.objects.of(DOCUMENT).claim(10, indexing.LEASE)
    assert jobs.sweep() == 0
    IndexEntry.objects.update(claimed_until=timezone.now())
    assert jobs.sweep() == 1


@two_databases
def test_the_sweep_goes_on_where_one_database_is_away(queue, monkeypatch, caplog):
    Product.objects.create(name="Mug", sku="M")
    queue.empty()
    of = IndexEntryQuerySet.of

    def refuse(self, document):
        if document.name == "article":
            raise OperationalError("no route to host")
        return of(self, document)

    monkeypatch.setattr(IndexEntryQuerySet, "of", refuse)
    assert jobs.sweep() == 1
    assert "no route to host" in caplog.text
