"""A store that lost a collection, or some points of it."""

from __future__ import annotations

import pytest

from clip_search.exceptions import CollectionMissing
from clip_search.indexing import collections
from clip_search.indexing.writing import finish, write
from clip_search.models import IndexEntry
from clip_search.stores import get_store
from clip_search.types import IMAGE, TEXT, Report
from tests.doubles.stores import FaultyStore
from tests.shops.shop.models import Product

from .actions import DOCUMENT, Stalled, State, collection, entry, index, point, reports

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


def test_a_destroyed_collection_is_made_again_with_everything_in_it():
    products = [Product.objects.create(name=f"Chair {number}", sku="C") for number in range(5)]
    index()
    before = collection()
    get_store().destroy(before)
    products[0].save()
    index(limit=2)
    assert collection() != before
    assert get_store().count(collection()) == 5


def test_a_collection_that_vanishes_under_way_is_made_again():
    for number in range(6):
        Product.objects.create(name=f"Chair {number}", sku="C")
    under_way = reports(2)
    next(under_way)
    get_store().destroy(collection())
    list(under_way)
    assert get_store().count(collection()) == 6
    assert not IndexEntry.objects.exclude(state=State.INDEXED).exists()


def test_who_wrote_to_a_collection_that_then_vanished_does_not_finish():
    product = Product.objects.create(name="Chair", sku="C")
    worker = Stalled()
    write(worker.target, worker.items)
    get_store().destroy(collection())
    assert collections.recreate_missing(DOCUMENT) == 1
    finish(worker.target, worker.items)
    assert entry(product).state == State.PENDING
    assert index().embedded == 1


def test_a_store_that_contradicts_itself_is_not_asked_for_ever(mug):
    """It has the collection, and says of every use that it has not."""
    mug.save()
    FaultyStore.faults = [CollectionMissing() for _ in range(10)]
    with pytest.raises(CollectionMissing):
        index()
    assert 1 < len(FaultyStore.faults) < 8
    assert entry(mug).claim is None


def test_a_point_that_is_gone_is_embedded_anew(mug):
    get_store().lose(collection(), DOCUMENT.point_id(str(mug.pk)))
    mug.price = 3
    mug.save()
    assert index() == Report(embedded=1)
    assert set(point(mug).vectors) == {TEXT, IMAGE}


def test_a_point_that_goes_between_reading_and_writing_is_written_whole(mug):
    mug.price = 3
    mug.save()
    worker = Stalled()
    get_store().lose(collection(), DOCUMENT.point_id(str(mug.pk)))
    worker.wake()
    assert entry(mug).state == State.INDEXED
    assert point(mug).payload["price"] == 3
    assert set(point(mug).vectors) == {TEXT, IMAGE}
