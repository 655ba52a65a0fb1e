"""Product ids, and which rows qualify."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.validators import validate_slug

from tests.shops.oscarshop.models import Product as Ware
from tests.shops.shop.models import Book, Product

from .declarations import declare


@pytest.mark.django_db
def test_find_gives_the_rows_that_qualify_now(document):
    shown = Product.objects.create(name="Mug")
    hidden = Product.objects.create(name="Cup", is_public=False)
    ids = [str(shown.pk), str(hidden.pk), "999"]
    assert document.find(document.rows(), ids) == {str(shown.pk): shown}
    assert document.qualifying(ids) == {str(shown.pk)}


ODD = [
    "test-123",
    "",
    " 1",
    "1.0",
    "1_0",
    "٣",
    "-1",
    str(2**63),
    str(10**30),
    "9" * 5000,
    "\x00",
    "None",
    "é" * 255,
]


@pytest.mark.django_db
@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_find_of_ids_that_the_model_cannot_have(document, odd):
    for key in (1, 3, 10):
        Product.objects.create(pk=key, name="Mug")
    assert document.find(document.rows(), [odd]) == {}
    assert document.qualifying([odd]) == set()
    assert set(document.find(document.rows(), [odd, "1"])) == {"1"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("id_field", "ids", "expected"),
    [
        ("pk", ["5", "test-123", "", "1.5", "9" * 30, "-" + "9" * 30], [5]),
        ("views", ["0", "-1", "9" * 30], [0]),
        ("price", ["1.50", "1e500", "NaN", "x"], [Decimal("1.50"), Decimal("1e500")]),
        ("sku", ["A B/1", "", "x" * 200], ["A B/1", "", "x" * 200]),
    ],
)
def test_ids_are_keys_wherever_a_database_can_be_asked_for_them(monkeypatch, id_field, ids, expected):
    monkeypatch.setattr(Product._meta.get_field("sku"), "validators", [validate_slug])
    document = declare(id_field=id_field)
    assert document.keys_of(ids) == expected
    assert document.find(document.rows(), ids) == {}


@pytest.mark.django_db
def test_another_id_field():
    document = declare(id_field="sku")
    mug = Product.objects.create(name="Mug", sku="M-1")
    assert document.declaration.product_id(mug) == "M-1"
    assert document.find(document.rows(), ["M-1", "m-1", "M-2", "x" * 300]) == {"M-1": mug}
    assert document.qualifying(["M-1", "m-1"]) == {"M-1"}
    assert document.product_ids(Product.objects.all()) == ["M-1"]
    assert "sku" in document.watched_fields


@pytest.mark.django_db
def test_the_id_of_a_subclass_is_that_of_its_parent():
    book = Book.objects.create(name="Emma")
    document = declare(Book)
    assert document.find(document.rows(), [str(book.pk)]) == {str(book.pk): book}
    assert document.product_ids([book]) == document.product_ids(Book.objects.all()) == [str(book.pk)]


def test_points_of_two_documents_do_not_meet():
    assert declare(name="one").point_id("1") != declare(name="two").point_id("1")
    assert declare(name="one").point_id("1") == declare(name="one").point_id("1")


@pytest.mark.django_db
def test_should_index():
    document = declare(should_index=lambda self, obj: obj.price > 0)
    free, sold = Product.objects.create(name="a"), Product.objects.create(name="b", price=1)
    ids = [str(free.pk), str(sold.pk)]
    assert document.find(document.rows(), ids) == {str(sold.pk): sold}
    assert document.qualifying(ids) == {str(sold.pk)}


@pytest.mark.django_db
def test_index_as():
    document = declare(Ware, index_as=lambda self, obj: obj.parent or obj)
    parent = Ware.objects.create(upc="shirt")
    children = [Ware.objects.create(upc=size, parent=parent) for size in "SM"]
    assert document.product_ids(children) == document.product_ids(Ware.objects.all()) == [str(parent.pk)]
    assert document.qualifies(parent)
    assert not document.qualifies(children[0])
    assert document.find(document.rows(), [str(row.pk) for row in (parent, *children)]) == {
        str(parent.pk): parent
    }


def test_index_as_none_has_no_point():
    document = declare(index_as=lambda self, obj: None)
    assert document.product_ids([Product(pk=1)]) == []
    assert not document.qualifies(Product(pk=1))
