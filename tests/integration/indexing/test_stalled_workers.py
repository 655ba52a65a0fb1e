"""A worker that stalls past its lease overwrites nothing newer."""

from __future__ import annotations

import pytest
from django.utils import timezone

from clip_search.models import IndexEntry
from clip_search.types import Report
from tests.shops.shop.models import Product

from .actions import Stalled, State, entry, index, point, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


@pytest.fixture
def stalled(mug) -> Stalled:
    """A worker that read "Stale mug" and stalled until its lease ended."""
    mug.name = "Stale mug"
    mug.save()
    worker = Stalled()
    IndexEntry.objects.update(claimed_until=timezone.now())
    return worker


def test_a_stalled_worker_does_not_overwrite_a_newer_save(mug, stalled):
    mug.name = "New mug"
    mug.save()
    assert index().embedded == 1
    stalled.wake()
    assert text_of(mug, "New mug. for tea")
    assert (entry(mug).state, entry(mug).indexed_revision) == (State.INDEXED, entry(mug).revision)


def test_a_stalled_worker_does_not_overwrite_the_same_revision(mug, stalled):
    index()
    written = point(mug)
    stalled.wake()
    assert point(mug).stamp == written.stamp
    assert entry(mug).state == State.INDEXED


def test_a_stalled_worker_does_not_overwrite_content_that_came_back(mug, stalled):
    """The newer content is what the point had before the stall: it is written all the same."""
    mug.name = "Red mug"
    mug.save()
    index()
    stalled.wake()
    assert text_of(mug, "Red mug. for tea")


def test_a_stalled_worker_does_not_bring_a_deleted_product_back(mug, stalled):
    key = mug.pk
    mug.delete()
    assert index() == Report(removed=1)
    stalled.wake()
    assert point(key).stamp.removed
    assert entry(key).state == State.REMOVED


def test_a_stalled_worker_does_not_overwrite_a_re_created_product(mug, stalled):
    key = mug.pk
    mug.delete()
    index()
    Product.objects.create(pk=key, name="Re-created", sku="R")
    index()
    stalled.wake()
    assert text_of(key, "Re-created")
    assert entry(key).state == State.INDEXED


def test_a_stalled_worker_does_not_delete_a_re_created_product(mug):
    key = mug.pk
    mug.delete()
    worker = Stalled()
    IndexEntry.objects.update(claimed_until=timezone.now())
    Product.objects.create(pk=key, name="Re-created", sku="R")
    index()
    assert worker.wake() == Report(removed=1)
    assert text_of(key, "Re-created")
    assert entry(key).state == State.INDEXED


def test_a_save_while_the_claim_is_held_is_indexed_next(mug):
    mug.name = "First"
    mug.save()
    worker = Stalled()
    mug.name = "Second"
    mug.save()
    assert index() == Report()
    worker.wake()
    assert (entry(mug).state, entry(mug).claim) == (State.PENDING, None)
    assert index().embedded == 1
    assert text_of(mug, "Second. for tea")
