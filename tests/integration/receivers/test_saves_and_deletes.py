"""Saving and deleting a product marks it as changed."""

from __future__ import annotations

import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from clip_search.models import IndexEntry
from clip_search.types import POSTED_SOURCE
from tests.shops.shop.models import Category, Product, ProductImage, Voucher

from .actions import connected, ids

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.sql]


@pytest.mark.parametrize("given", [uuid.UUID, str, lambda key: key.replace("-", ""), str.upper])
def test_a_key_that_was_given_as_text_is_the_one_that_the_database_gives(given):
    """Django leaves it on the instance as it was given."""
    key = "0f5ee0a1-6e0c-4b5c-9d2b-0a4ef34a3b11"
    with connected(Voucher, text_fields=["name"]) as raised:
        Voucher.objects.create(pk=given(key), name="Ten off")
        assert raised() == {key}
        Voucher(pk=given(key), name="Twenty off").save(force_update=True)
        assert raised() == {key}
        Voucher(pk=given(key)).delete()
        assert raised() == {key}


# Saves.


def test_create(raised):
    assert raised() == set()
    mug = Product.objects.create(name="Mug")
    assert raised() == ids(mug)


def test_save(raised, mug):
    mug.save()
    assert raised() == ids(mug)
    assert IndexEntry.objects.get().revision == 2


def test_update_or_create(raised, mug):
    Product.objects.update_or_create(sku="M-1", defaults={"name": "Pot"})
    assert raised() == ids(mug)


@pytest.mark.parametrize(
    "field", ["name", "description", "sku", "price", "category", "category_id", "is_public"]
)
def test_update_fields_that_touch_what_is_indexed(raised, mug, field):
    mug.save(update_fields=[field])
    assert raised() == ids(mug)


def test_update_fields_that_touch_nothing_indexed(raised, mug):
    mug.save(update_fields=["views"])
    assert raised() == set()
    mug.save(update_fields=["views", "name"])
    assert raised() == ids(mug)


def test_update_fields_of_a_document_with_methods_of_its_own(mug):
    with connected(Product, get_text=lambda self, obj: f"{obj.views} views") as raised:
        mug.save(update_fields=["views"])
        assert raised() == ids(mug)


def test_a_failing_save_raises_nothing(raised, mug):
    with pytest.raises(ValidationError), transaction.atomic():
        Product(name="Cup", price="cheap").save()
    with pytest.raises(ValueError), transaction.atomic():
        mug.save(update_fields=["nonsense"])
    assert raised() == set()


def test_a_save_takes_back_what_was_posted(raised, mug):
    IndexEntry.objects.update(source=POSTED_SOURCE)
    mug.save()
    assert IndexEntry.objects.get().source == "model"


def test_a_row_saved_under_a_new_key_is_another_product(raised, mug):
    old, mug.pk = mug.pk, None
    mug.save()
    assert raised() == ids(mug)
    assert mug.pk != old


# Deletes.


def test_delete(raised, mug):
    expected = ids(mug)
    mug.delete()
    assert raised() == expected


def test_delete_by_queryset(raised, mug, cup):
    expected = ids(mug, cup)
    Product.objects.all().delete()
    assert raised() == expected


def test_deleting_a_product_takes_its_images_along(raised, mug):
    ProductImage.objects.create(product=mug, original="a.png")
    raised()
    expected = ids(mug)
    mug.delete()
    assert raised() == expected
    assert not ProductImage.objects.exists()


def test_deleting_a_category_that_its_products_outlive(raised, mug, cup, kitchen):
    kitchen.delete()
    assert raised() == ids(mug)
    assert Product.objects.filter(category=None).count() == 2


def test_deleting_categories_by_queryset(raised, mug, cup, kitchen):
    Category.objects.filter(slug="kitchen").delete()
    assert raised() == ids(mug)


def test_deleting_inside_a_transaction_that_rolls_back(raised, mug):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        mug.delete()
        1 / 0  # noqa: B018
    assert raised() == set()


def test_entries_outlive_their_products(mug):
    before = IndexEntry.objects.get().revision
    mug.delete()
    assert IndexEntry.objects.get().revision == before + 1
