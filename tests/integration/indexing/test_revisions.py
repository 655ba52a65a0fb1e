"""Which revision is written, and when a point is newer than its entry."""

from __future__ import annotations

import pytest

from clip_search.encoders import get_encoder
from clip_search.models import IndexEntry
from clip_search.stores import get_store
from clip_search.types import TEXT, Report
from tests.shops.shop.models import Product

from .actions import DOCUMENT, State, collection, entry, index, point

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


def test_what_is_unchanged_is_not_written(mug):
    written = get_store().written
    DOCUMENT.declaration.reindex([mug])
    assert index() == Report(unchanged=1)
    assert get_store().written == written
    assert entry(mug).indexed_revision == entry(mug).revision == point(mug).stamp.revision + 1


def test_what_is_unchanged_is_written_where_a_revision_lies_between(mug):
    """A worker that stalled with that revision could still write its older content."""
    DOCUMENT.declaration.reindex([mug])
    DOCUMENT.declaration.reindex([mug])
    index()
    assert point(mug).stamp.revision == entry(mug).revision
    assert get_encoder().take() == (0, 0)


def test_an_entry_older_than_its_point_overtakes_it(mug):
    """As after a database was restored from yesterday's copy."""
    for name in ("Green mug", "Blue mug", "Black mug"):
        mug.name = name
        mug.save()
        index()
    high = point(mug).stamp.revision
    IndexEntry.objects.update(revision=1, indexed_revision=1)
    mug.name = "White mug"
    mug.save()
    assert entry(mug).revision < high
    index()
    assert point(mug).stamp.revision == entry(mug).revision > high
    assert (entry(mug).state, entry(mug).claim) == (State.INDEXED, None)
    expected = get_encoder().embed_texts(["White mug. for tea"])[0]
    assert point(mug).vectors[TEXT] == pytest.approx(expected, abs=1e-6)


def test_a_product_whose_entry_was_lost_overtakes_its_tombstone(mug):
    key = mug.pk
    mug.delete()
    assert index() == Report(removed=1)
    assert point(key).stamp.removed
    IndexEntry.objects.all().delete()
    Product.objects.create(pk=key, name="Red mug", sku="M-1")
    index()
    assert not point(key).stamp.removed
    assert entry(key).state == State.INDEXED


def test_a_deleted_product_is_removed_and_its_re_creation_found(mug):
    key = mug.pk
    mug.delete()
    assert index() == Report(removed=1)
    assert point(key).vectors == {}
    assert get_store().count(collection()) == 0
    assert entry(key).state == State.REMOVED
    Product.objects.create(pk=key, name="Red mug", sku="M-1")
    assert index() == Report(embedded=1, without_image=1)
    assert get_store().count(collection()) == 1


def test_one_that_qualifies_no_longer_is_removed(mug):
    mug.is_public = False
    mug.save()
    assert index() == Report(removed=1)
    assert point(mug).stamp.removed
