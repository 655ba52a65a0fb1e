"""While a collection is rebuilt, changes are written to both."""

from __future__ import annotations

import numpy as np
import pytest

from clip_search.encoders import get_encoder
from clip_search.indexing import collections
from clip_search.models import Collection
from clip_search.models.entries import IndexEntryQuerySet
from clip_search.stores import get_store
from clip_search.types import IMAGE, TEXT, Report
from tests.shops.shop.models import Product

from .actions import DOCUMENT, collection, due_now, entry, index, point

pytestmark = [pytest.mark.django_db, pytest.mark.sql]
CLAIM = IndexEntryQuerySet.claim


@pytest.fixture
def building(mug) -> Collection:
    return collections.create_collection(
        DOCUMENT, get_store(), get_encoder(), state=Collection.State.BUILDING, generation=2
    )


def test_a_save_during_a_rebuild_is_written_to_both_and_embedded_once(mug, building):
    mug.name = "Blue mug"
    mug.save()
    assert index() == Report(embedded=1)
    assert get_encoder().take() == (1, 0)
    assert entry(mug).generation == 2
    live, new = point(mug), point(mug, building.name)
    assert live.stamp == new.stamp
    assert all(np.array_equal(live.vectors[name], new.vectors[name]) for name in (TEXT, IMAGE))


def test_a_delete_during_a_rebuild_leaves_a_tombstone_in_both(mug, building):
    key = mug.pk
    mug.delete()
    index()
    assert point(key).stamp.removed
    assert point(key, building.name).stamp.removed


def test_a_live_collection_that_vanishes_during_a_rebuild_is_made_again(mug, building):
    get_store().destroy(collection())
    mug.price = 3
    mug.save()
    index()
    live, new = Collection.objects.of(DOCUMENT).active()
    assert (live.state, new) == (Collection.State.LIVE, building)
    assert point(mug, live.name).stamp == point(mug, building.name).stamp


def test_a_tombstone_in_one_collection_does_not_keep_the_other_s_vectors_from_being_used(mug, building):
    """A delete reached the live collection only; then the product came back."""
    DOCUMENT.declaration.reindex([mug])
    index()
    tomb = point(mug)
    get_store().drop(collection(), [tomb])
    DOCUMENT.declaration.reindex([mug])
    due_now()
    report = index()
    assert report.postponed == 0
    assert set(point(mug).vectors) == set(point(mug, building.name).vectors) == {TEXT, IMAGE}
    assert get_encoder().take() == (0, 0)


def test_a_collection_that_appears_between_looking_and_claiming_is_written_to(mug, monkeypatch):
    """Otherwise an entry that the rebuild had done would go back to the old collection alone."""
    mug.name = "Blue mug"
    mug.save()
    made = []

    def late(self, *args, **kwargs):
        if not made:
            made.append(
                collections.create_collection(
                    DOCUMENT, get_store(), get_encoder(), state=Collection.State.BUILDING, generation=2
                )
            )
        return CLAIM(self, *args, **kwargs)

    monkeypatch.setattr(IndexEntryQuerySet, "claim", late)
    index()
    assert point(mug, made[0].name) is not None
    assert entry(mug).generation == 2


def test_an_old_model_s_live_collection_is_left_alone_but_for_deletes(mug, settings):
    other = Product.objects.create(name="Chair", sku="C")
    index()
    live = collection()
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "tests.doubles.encoders.OtherEncoder"}
    new = collections.create_collection(
        DOCUMENT, get_store(), get_encoder(), state=Collection.State.BUILDING, generation=2
    )
    before, key = point(mug, live), other.pk
    mug.name = "Blue mug"
    mug.save()
    other.delete()
    assert index() == Report(embedded=1, removed=1)
    assert point(mug, live).stamp == before.stamp
    assert point(mug, new.name).vectors[TEXT].shape == (300,)
    assert point(key, live).stamp.removed
    assert point(key, new.name).stamp.removed
