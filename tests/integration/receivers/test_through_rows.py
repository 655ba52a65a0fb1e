"""Rows of a many-to-many relation's own `through` model that are saved and deleted directly."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clip_search import Keyword
from clip_search.models import RelatedChange
from tests.integration.searching.actions import counted
from tests.shops.oscarshop.models import Category, Product, ProductCategory, StockRecord
from tests.shops.shop.models import Tag

from .actions import connected, ids

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.sql]

CATEGORY = {"filter_fields": {"category": Keyword("categories.slug")}}


@pytest.fixture
def shelves() -> list[Category]:
    return [Category.add("kitchen"), Category.add("office")]


@pytest.fixture
def mug(shelves) -> Product:
    return Product.objects.create(upc="mug")


@pytest.fixture
def pot(shelves) -> Product:
    return Product.objects.create(upc="pot")


def test_a_row_is_created_changed_moved_and_deleted(mug, pot, shelves):
    with connected(Product, **CATEGORY) as raised:
        row = ProductCategory.objects.create(product=mug, category=shelves[0])
        assert raised() == ids(mug)
        row.category = shelves[1]
        row.save()
        assert raised() == ids(mug)
        row.product = pot
        row.save(update_fields=["product"])
        assert raised() == ids(mug, pot)
        row.product = mug  # only in memory
        row.delete()
        assert raised() == ids(pot)


def test_a_deleted_category_takes_its_rows_along(mug, pot, shelves):
    with connected(Product, **CATEGORY) as raised:
        mug.categories.add(*shelves)
        pot.categories.add(shelves[1])
        raised()
        shelves[0].delete()
        assert raised() == ids(mug)


def test_from_the_other_side_of_the_relation(mug, shelves):
    with connected(Category, text_fields=["products.title"]) as raised:
        row = ProductCategory.objects.create(product=mug, category=shelves[0])
        assert raised() == ids(shelves[0])
        row.category = shelves[1]
        row.save()
        assert raised() == ids(*shelves)
        row.delete()
        assert raised() == ids(shelves[1])


def test_a_relation_further_along_a_path(mug, pot, shelves):
    with connected(StockRecord, text_fields=["product.categories.slug"]) as raised:
        two = [StockRecord.objects.create(product=mug, price=price) for price in (1, 2)]
        other = StockRecord.objects.create(product=pot, price=3)
        raised()
        row = ProductCategory.objects.create(product=mug, category=shelves[0])
        assert raised() == ids(*two)
        row.product = pot
        row.save()
        assert raised() == ids(*two, other)
        row.delete()
        assert raised() == ids(other)
        mug.categories.add(shelves[1])
        assert raised() == ids(*two)
        shelves[1].products.add(pot)
        assert raised() == ids(other)
        shelves[1].products.clear()
        assert raised() == ids(*two, other)
        mug.categories.set(shelves)
        assert raised() == ids(*two)
        mug.categories.clear()
        assert raised() == ids(*two)


def test_a_relation_without_a_model_of_its_own_further_along_a_path():
    one, two = (Product.objects.create(upc=upc) for upc in "12")
    with connected(StockRecord, text_fields=["product.recommended.title"]) as raised:
        record = StockRecord.objects.create(product=one, price=1)
        raised()
        one.recommended.add(two)
        assert raised() == ids(record)
        two.recommended.add(one)
        assert raised() == set()
        two.recommended_by.clear()
        assert raised() == ids(record)


def test_a_variant_raises_its_parent(mug, shelves):
    child = Product.objects.create(upc="mug-s", parent=mug)
    declared = {"index_as": lambda self, obj: obj.parent or obj}
    with connected(Product, **declared) as raised:
        ProductCategory.objects.create(product=child, category=shelves[0]).delete()
        assert raised() == ids(mug)


def test_ids_that_are_no_keys(mug, shelves):
    with connected(Product, id_field="upc", **CATEGORY) as raised:
        ProductCategory.objects.create(product=mug, category=shelves[0])
        assert raised() == {"mug"}


def test_a_relation_that_the_index_does_not_read(mug, shelves):
    with connected(Product, text_fields=["title"]) as raised:
        row = ProductCategory.objects.create(product=mug, category=shelves[0])
        row.save()
        row.delete()
        assert raised() == set()


def test_a_model_that_is_declared_too_is_heard_of_once(mug, shelves):
    row = ProductCategory.objects.create(product=mug, category=shelves[0])
    marks = []
    for related in ({}, {ProductCategory: "product"}):
        with connected(Product, **CATEGORY, related=related), CaptureQueriesContext(connection) as captured:
            row.save()
        marks.append(sum(query["sql"].startswith("UPDATE") for query in captured))
    assert marks[0] == marks[1]


def test_deleting_many_rows_at_once_takes_few_statements(mug, shelves):
    products = [Product.objects.create(upc=str(number)) for number in range(30)]
    with connected(Product, **CATEGORY) as raised:
        for change in (
            lambda: shelves[0].products.clear(),
            lambda: shelves[0].products.set([mug]),
            lambda: ProductCategory.objects.filter(category=shelves[0]).delete(),
        ):
            shelves[0].products.set(products)
            raised()
            with CaptureQueriesContext(connection) as captured:
                change()
            assert len(captured) < 30  # two documents hear of it
            assert raised() >= ids(*products)


def test_a_queryset_that_is_deleted_again(mug, pot, shelves):
    with connected(Product, **CATEGORY) as raised:
        rows = ProductCategory.objects.filter(category=shelves[0])
        for product in (mug, pot, mug):
            ProductCategory.objects.create(product=product, category=shelves[0], pk=1)
            raised()
            rows.delete()
            assert raised() == ids(product)


def test_deleting_rows_of_very_many_products_writes_one_row(mug, shelves, monkeypatch):
    monkeypatch.setattr("clip_search.outbox.ROWS_PER_STATEMENT", 10)
    products = [Product.objects.create(upc=str(number)) for number in range(30)]
    with connected(Product, **CATEGORY) as raised:
        shelves[0].products.set(products)
        raised()
        ProductCategory.objects.all().delete()
        assert len(RelatedChange.objects.get(document="declared").product_ids) == 30
        assert raised() == ids(*products)


def test_a_model_without_a_way_to_the_product_breaks_nothing(mug, monkeypatch):
    relation = Product._meta.get_field("categories")
    monkeypatch.setattr(relation.remote_field, "through", Tag)
    with connected(Product, **CATEGORY) as raised:
        Tag.objects.create(name="red").delete()
        assert raised() == set()


def test_a_relation_without_any_such_model_breaks_nothing(mug, monkeypatch):
    monkeypatch.setattr(Product._meta.get_field("categories").remote_field, "through", None)
    with connected(Product, **CATEGORY) as raised:
        mug.save()
        assert raised() == ids(mug)


@pytest.mark.django_db(transaction=True)
def test_filters_and_facets_follow(mug, pot, shelves):
    with connected(Product, text_fields=["upc"], everything=True, **CATEGORY) as watch:
        search = type(watch.document.declaration).search
        mug.save()
        pot.save()
        row = ProductCategory.objects.create(product=mug, category=shelves[0])
        assert counted(search("mug"), "category") == {"kitchen": 1}
        row.category = shelves[1]
        row.save()
        assert list(search("mug").filter(category="office")) == [mug]
        row.product = pot
        row.save()
        assert list(search("mug").filter(category="office")) == [pot]
        row.delete()
        assert counted(search("mug"), "category") == {}
        call_command("clip_verify", "declared", dry_run=True, verbosity=0)
