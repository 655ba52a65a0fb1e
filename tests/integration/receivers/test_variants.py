"""Variants, ids that are no primary keys, proxies and subclasses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.shops.oscarshop.models import Product as Ware
from tests.shops.oscarshop.models import ProductImage as WareImage
from tests.shops.oscarshop.models import StockRecord
from tests.shops.shop.models import Book, Category, Product, ProductImage, SaleProduct

from .actions import Watch, connected, ids

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.sql]

# Variants and ids.


@pytest.fixture
def variants() -> Iterator[Watch]:
    related = {WareImage: "product", StockRecord: "product"}
    with connected(Ware, index_as=lambda self, obj: obj.parent or obj, related=related) as watch:
        yield watch


def test_a_variant_raises_its_parent(variants):
    shirt = Ware.objects.create(upc="shirt")
    child = Ware.objects.create(upc="shirt-S", parent=shirt)
    assert variants() == ids(shirt)
    child.save()
    assert variants() == ids(shirt)
    StockRecord.objects.create(product=child, price=1)
    assert variants() == ids(shirt)
    child.delete()
    assert variants() == ids(shirt)


def test_a_variant_that_moves_counts_for_both_parents(variants):
    shirt, coat = Ware.objects.create(upc="shirt"), Ware.objects.create(upc="coat")
    child = Ware.objects.create(upc="S", parent=shirt)
    variants()
    child.parent = coat
    child.save()
    assert variants() == ids(shirt, coat)
    child.parent = None
    child.save()
    assert variants() == ids(coat, child)


def test_deleting_a_variant_that_was_moved_in_memory(variants):
    shirt, coat = Ware.objects.create(upc="shirt"), Ware.objects.create(upc="coat")
    child = Ware.objects.create(upc="S", parent=shirt)
    variants()
    child.parent = coat
    child.delete()
    assert variants() == ids(shirt)


def test_two_documents_of_one_model_do_not_mix_up_what_they_noted(variants):
    shirt, coat = Ware.objects.create(upc="shirt"), Ware.objects.create(upc="coat")
    child = Ware.objects.create(upc="S", parent=shirt)
    with connected(Ware, name="second", id_field="upc", index_as=lambda self, obj: obj) as second:
        variants()
        child.parent, child.upc = coat, "T"
        child.save()
        assert variants() == ids(shirt, coat)
        assert second() == {"S", "T"}


def test_an_id_that_changes_counts_for_both(mug):
    with connected(Product, id_field="sku") as raised:
        mug.sku = "M-2"
        mug.save(update_fields=["sku"])
        assert raised() == {"M-1", "M-2"}
        mug.sku = "unsaved"
        mug.delete()
        assert raised() == {"M-2"}


def test_a_related_object_raises_ids_that_are_no_keys(mug):
    with connected(
        Product, id_field="sku", related={ProductImage: "product", Category: "products"}
    ) as raised:
        ProductImage.objects.create(product=mug, original="a.png")
        assert raised() == {"M-1"}


# Proxies and subclasses.


def test_a_proxy_counts(raised):
    sale = SaleProduct.objects.create(name="Mug")
    assert raised() == ids(sale)
    sale.save(update_fields=["views"])
    assert raised() == set()
    expected = ids(sale)
    sale.delete()
    assert raised() == expected


def test_a_subclass_counts(raised):
    book = Book.objects.create(name="Emma")
    assert raised() == ids(book)
    book.author = "Austen"
    book.save(update_fields=["author"])
    assert raised() == set()
    expected = ids(book)
    book.delete()
    assert raised() == expected


def test_deleting_the_parent_row_of_a_subclass(raised):
    book = Book.objects.create(name="Emma")
    raised()
    expected = ids(book)
    Product.objects.get().delete()
    assert raised() == expected


def test_related_objects_of_a_subclass(raised):
    book = Book.objects.create(name="Emma")
    raised()
    ProductImage.objects.create(product=book, original="a.png")
    assert raised() == ids(book)


def test_a_document_of_a_proxy_hears_of_its_model():
    with connected(SaleProduct) as raised:
        assert Product.objects.create(name="Mug")
        assert len(raised()) == 1


def test_a_document_of_a_subclass_hears_when_the_parent_row_is_saved(mug):
    book = Book.objects.create(name="Emma")
    with connected(Book, text_fields=["name"], related={ProductImage: "product"}) as raised:
        book.product_ptr.save()
        assert raised() == ids(book)
        book.product_ptr.save(update_fields=["views"])
        assert raised() == set()
        mug.save()
        assert raised() == set()
        ProductImage.objects.create(product=book.product_ptr, original="a.png")
        assert raised() == ids(book)
