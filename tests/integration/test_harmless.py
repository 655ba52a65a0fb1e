"""What the receivers do never breaks the host's own save, delete or many-to-many change."""

from __future__ import annotations

import pytest
from django.test import TestCase

from clip_search import Document
from clip_search.models import IndexEntry
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product, ProductImage, Tag


@pytest.fixture
def broken(register_document):
    """Register a document whose methods raise."""

    def fail(self, obj):
        raise OverflowError("Python int too large to convert to SQLite INTEGER")

    attributes = {
        "name": "broken",
        "text_fields": ["name"],
        "filter_fields": {},
        "index_as": fail,
        "related": {ProductImage: "product", Category: "products"},
    }
    return register_document(type("BrokenDocument", (Document,), attributes), Product)


@pytest.mark.django_db(transaction=True)
def test_a_document_whose_methods_raise_breaks_no_save(broken, picture, caplog):
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(name="Mug", sku="M-1", category=kitchen)
    tag = Tag.objects.create(name="new")
    mug.tags.add(tag)
    mug.tags.clear()
    image = ProductImage.objects.create(product=mug, original=picture("red"))
    kitchen.save()
    image.delete()
    mug.price = 5
    mug.save()
    mug.delete()
    assert "Cannot schedule the change, clip_reindex will find it" in caplog.text
    assert "OverflowError" in caplog.text
    assert set(IndexEntry.objects.values_list("document", flat=True)) == {"product"}


class ShopTest(TestCase):
    """A shop's own test case, as the documentation recommends it."""

    def test_every_block_of_callbacks_indexes_its_products(self):
        for number in range(3):
            with self.captureOnCommitCallbacks(execute=True):
                Product.objects.create(name=f"Mug {number}", sku=f"M-{number}")
            assert ProductDocument.search("mug").count() == number + 1
