"""W101 compares paths: the hint names the one that is missing, and with it changes are noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.db import models

from clip_search import Document, Keyword, Number
from clip_search.checks.documents import check_document
from clip_search.documents import paths
from clip_search.documents.binding import BoundDocument
from tests.integration.receivers.actions import connected, ids
from tests.shops.oscarshop.models import Category as Shelf
from tests.shops.oscarshop.models import Product as Ware
from tests.shops.oscarshop.models import ProductImage as Photo
from tests.shops.oscarshop.models import StockRecord
from tests.shops.shop.models import Book, Category, Product, ProductImage, Tag

PRICE = {"filter_fields": {"price": Number("children.stockrecords.price")}}
HINT = r"(?:Add|Write) (\w+): \[?(.+?)\]? (?:to|in) related\."


def hints(model, **attributes) -> list[str]:
    """Return the hints of W101; nothing else may be said."""
    declared = {"text_fields": ["pk"]} | attributes
    messages = check_document(BoundDocument(type("Shop", (Document,), declared)(model)))
    assert {message.id for message in messages} <= {"clip_search.W101"}
    return [message.hint for message in messages]


def parent(self, product):
    return product.parent or product


def test_the_hint_names_the_path_that_leads_back():
    assert hints(Ware, **PRICE) == [
        'Add Product: "parent" to related.',
        'Add StockRecord: "product.parent" to related.',
    ]
    assert hints(Product, text_fields=["tags.name"]) == ['Add Tag: "products" to related.']
    assert hints(Book, text_fields=["category.name"]) == ['Add Category: "products" to related.']
    labelled = {"filter_fields": {"sku": Keyword("sku", label="category.name")}}
    assert hints(Product, **labelled) == ['Add Category: "products" to related.']
    assert hints(Ware, text_fields=["recommended.title"]) == ['Add Product: "recommended_by" to related.']
    assert hints(Ware, text_fields=["bought_with.title"]) == ['Add Product: "bought_with" to related.']


def test_a_path_that_leads_back_another_way_is_not_enough():
    related = {StockRecord: "product", Ware: "parent"}
    assert hints(Ware, **PRICE, related=related) == [
        'Write StockRecord: ["product", "product.parent"] in related.'
    ]
    for right in ("product.parent", "product__parent", ["product", "product.parent"]):
        assert hints(Ware, **PRICE, related=related | {StockRecord: right}) == []


def test_one_model_on_two_paths_needs_two():
    texts = ["categories.name", "parent.categories.name"]
    related = {Ware: "children", Shelf: "products"}
    assert hints(Ware, text_fields=texts, related=related) == [
        'Write Category: ["products", "products.children"] in related.'
    ]
    assert hints(Ware, text_fields=texts, related={Ware: "children"}) == [
        'Write Category: ["products", "products.children"] in related.'
    ]


def test_what_index_as_makes_the_product_s_is_noticed():
    assert hints(Ware, **PRICE, index_as=parent, related={StockRecord: "product"}) == []
    assert hints(Ware, **PRICE, index_as=parent, related={StockRecord: "product.parent"}) == []
    assert hints(Ware, text_fields=["children.title"], index_as=parent) == []
    assert hints(Ware, text_fields=["children.children.title"], index_as=parent) == []
    two_down = {"image_field": "children.children.images.original"}
    for path in ("product", "product.parent", "product.parent.parent"):
        assert hints(Ware, **two_down, index_as=parent, related={Photo: path}) == []


def test_what_index_as_does_not_make_the_product_s_is_not():
    assert len(hints(Ware, **PRICE, index_as=parent)) == 1
    assert len(hints(Ware, text_fields=["parent.title"], index_as=parent)) == 1
    assert len(hints(Ware, text_fields=["recommended.title"], index_as=parent)) == 1


def test_a_subclass_stands_for_itself_alone():
    assert hints(ProductImage, text_fields=["product.name"], related={Product: "images"}) == []
    assert len(hints(ProductImage, text_fields=["product.name"], related={Book: "images"})) == 1


def test_parts_of_the_product_in_other_tables_are_noticed():
    assert hints(Product, text_fields=["book.author"]) == []
    assert hints(Book, text_fields=["product_ptr.name"]) == []
    for model, path in ((Product, "book.images.original"), (Book, "product_ptr.images.original")):
        assert hints(model, image_field=path, related={ProductImage: "product"}) == []
        assert len(hints(model, image_field=path)) == 1


def test_a_wrong_path_is_not_repeated():
    shop = type("Shop", (Document,), {"text_fields": ["tags.name"], "related": {Tag: "nonsense"}})
    messages = check_document(BoundDocument(shop(Product)))
    assert [message.hint for message in messages if message.id == "clip_search.W101"] == [
        'Add Tag: "products" to related.'
    ]


def test_a_relation_without_a_name_for_the_way_back(monkeypatch):
    relation = Product._meta.get_field("category").remote_field
    monkeypatch.setattr(relation, "related_name", "+")
    monkeypatch.setattr(relation, "hidden", True)
    (hint,) = hints(Product, text_fields=["category.name"])
    assert "a related_name" in hint
    assert "Category" in hint


def every_path(model: type[models.Model], depth: int) -> Iterator[str]:
    """Yield every path of relations from a model."""
    for field in model._meta.get_fields():
        name = field.get_accessor_name() if field.auto_created and not field.concrete else field.name
        if not field.is_relation or field.related_model is None or name is None:
            continue
        yield name
        if depth > 1:
            yield from (f"{name}.{rest}" for rest in every_path(field.related_model, depth - 1))


@pytest.mark.parametrize("model", [Ware, Product, Book, StockRecord, Shelf, Category, Tag])
def test_what_the_hint_says_leads_back_from_everywhere(model):
    """The declared path, followed back and forth, has the same models, and the check is content with it."""
    checked = 0
    for path in every_path(model, 3):
        related: dict[type[models.Model], list[str]] = {}
        fields = [field for _, field in paths.crossed(model, path)]
        for hint in hints(model, exact_fields=[f"{path}.pk"]):
            name, written = re.fullmatch(HINT, hint).groups()
            far = next(field.related_model for field in fields if field.related_model.__name__ == name)
            related[far] = [way.strip('"') for way in written.split(", ")]
        if related:
            checked += 1
            assert hints(model, exact_fields=[f"{path}.pk"], related=related) == [], path
    assert checked > 10


@pytest.mark.django_db
def test_with_the_path_of_the_hint_the_change_is_noticed():
    shirt = Ware.objects.create(upc="shirt")
    child = Ware.objects.create(upc="shirt-S", parent=shirt)
    record = StockRecord.objects.create(product=child, price=1)
    with connected(Ware, **PRICE, related={StockRecord: "product"}) as raised:
        record.save()
        assert ids(shirt).isdisjoint(raised())
    with connected(Ware, **PRICE, related={StockRecord: "product.parent"}) as raised:
        record.save()
        assert raised() == ids(shirt)
    with connected(Ware, **PRICE, related={StockRecord: "product"}, index_as=parent) as raised:
        record.save()
        assert raised() == ids(shirt)


@pytest.mark.django_db
def test_the_path_of_the_hint_through_many_to_many_relations():
    one, two = (Ware.objects.create(upc=upc) for upc in "12")
    shelf = Shelf.add("kitchen")
    two.categories.add(shelf)
    texts = {"filter_fields": {"category": Keyword("recommended.categories.slug")}}
    one.recommended.add(two)
    with connected(Ware, **texts, related={Shelf: "products.recommended_by"}) as raised:
        shelf.save()
        assert raised() == ids(one)
