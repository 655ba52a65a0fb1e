"""Entries and wake-ups follow the transaction."""

from __future__ import annotations

import pytest
from django.db import transaction

from clip_search import queue
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.models import IndexEntry, RelatedChange
from clip_search.stores import get_store
from tests.shops.oscarshop.models import Product as Ware
from tests.shops.shop.models import Category, Product

from .actions import ids

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.sql]

# Transactions.


def test_a_rolled_back_transaction_leaves_nothing(raised, mug, kitchen):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        mug.save()
        kitchen.save()
        1 / 0  # noqa: B018
    assert raised() == set()
    assert not RelatedChange.objects.exists()


def test_a_rolled_back_savepoint_leaves_nothing_of_its_own(raised, mug, cup):
    with transaction.atomic():
        mug.save()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            cup.save()
            1 / 0  # noqa: B018
    assert raised() == ids(mug)


@pytest.fixture
def woken(settings, monkeypatch) -> list[str]:
    """Return the documents for which a worker is woken."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}
    found: list[str] = []
    monkeypatch.setattr(queue, "wake", lambda document: found.append(document.name))
    return found


@pytest.mark.django_db(transaction=True)
def test_one_wake_up_a_transaction(woken):
    with transaction.atomic():
        mug = Product.objects.create(name="Mug")
        mug.tags.create(name="red")
        Category.objects.create(name="a", slug="a").save()
        assert woken == []
    assert woken == ["product"]
    mug.save()
    assert woken == ["product", "product"]


@pytest.mark.django_db(transaction=True)
def test_one_wake_up_for_each_document(woken):
    with transaction.atomic():
        Product.objects.create(name="Mug")
        Ware.objects.create(upc="shirt")
    assert sorted(woken) == ["catalogue", "product"]


@pytest.mark.django_db(transaction=True)
def test_no_wake_up_after_a_rollback_and_one_for_the_next_transaction(woken):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.create(name="Mug")
        1 / 0  # noqa: B018
    assert woken == []
    Product.objects.create(name="Cup")
    assert woken == ["product"]


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_that_takes_the_first_callback_along(woken):
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Product.objects.create(name="Mug")
            1 / 0  # noqa: B018
        Product.objects.create(name="Cup")
    assert woken == ["product"]


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_that_takes_the_last_callback_along(woken):
    with transaction.atomic():
        Product.objects.create(name="Mug")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Product.objects.create(name="Cup")
            1 / 0  # noqa: B018
    assert woken == ["product"]
    assert IndexEntry.objects.count() == 1


# In the index, on that very save.


def indexed(document: BoundDocument) -> set[str]:
    collection = document_collection(document)
    return {point.stamp.product_id for point in get_store().scroll(collection) if not point.stamp.removed}


def document_collection(document: BoundDocument) -> str:
    from clip_search.models import Collection

    return Collection.objects.of(document).get().name


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_unpublished_is_removed_on_that_very_save():
    mug, cup = Product.objects.create(name="Mug"), Product.objects.create(name="Cup")
    document = registry.get("product")
    assert indexed(document) == ids(mug, cup)
    mug.is_public = False
    mug.save(update_fields=["is_public"])
    assert indexed(document) == ids(cup)
    assert IndexEntry.objects.get(product_id=mug.pk).state == "removed"
    mug.is_public = True
    mug.save()
    assert indexed(document) == ids(mug, cup)
    expected = ids(mug)
    cup.delete()
    assert indexed(document) == expected


@pytest.mark.django_db(transaction=True)
def test_a_change_of_very_many_products_reaches_the_index():
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(name="Mug", category=kitchen)
    kitchen.slug = "cooking"
    kitchen.save()
    (point,) = get_store().scroll(document_collection(registry.get("product")))
    assert point.payload["category"] == "cooking"
    kitchen.delete()
    (point,) = get_store().scroll(document_collection(registry.get("product")))
    assert "category" not in point.payload
    assert point.stamp.product_id == str(mug.pk)
