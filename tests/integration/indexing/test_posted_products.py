"""Products that clients posted."""

from __future__ import annotations

import pytest

from clip_search.indexing import related
from clip_search.models import IndexEntry, PostedProduct
from clip_search.types import Report
from tests.shops.shop.models import Category

from .actions import DOCUMENT, index, point, post_again, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


def test_a_posted_product_takes_the_same_path_and_the_shop_s_next_save_takes_it_back(mug):
    key = str(mug.pk)
    PostedProduct.objects.save_product(
        DOCUMENT, key, {"name": "Posted", "metadata": {"price": "4", "note": "x"}}
    )
    PostedProduct.objects.save_product(DOCUMENT, "p-1", {"name": "Alone", "metadata": {"price": "much"}})
    IndexEntry.objects.mark_changed(DOCUMENT, [key, "p-1"], source="posted")
    assert index() == Report(embedded=1, failed=1, without_image=1)
    found = point(mug)
    assert (found.stamp.source, found.payload["price"], found.payload["name"]) == ("posted", 4.0, "Posted")
    assert found.payload["metadata"] == {"price": "4", "note": "x"}
    failed = IndexEntry.objects.get(product_id="p-1")
    assert failed.error.startswith("metadata: 'price' should be a number")
    mug.save()
    index()
    assert (point(mug).stamp.source, point(mug).payload["price"]) == ("model", 0.0)
    IndexEntry.objects.mark_changed(DOCUMENT, ["p-1"], source="posted")
    PostedProduct.objects.delete_product(DOCUMENT, "p-1")
    assert index() == Report(removed=1)


def test_a_related_change_does_not_take_back_what_was_posted(mug):
    mug.category = Category.objects.create(name="Kitchen", slug="kitchen")
    mug.save()
    index()
    mug.category.save()
    post_again(mug)
    related.expand_related(DOCUMENT)
    index()
    assert text_of(mug, "Posted mug")
