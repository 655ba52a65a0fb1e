"""Where the values of filters come from, and what happens to values that do not fit."""

from __future__ import annotations

import pytest
from django.db import models

from clip_search import Bool, Date, Document, Keyword, Number
from clip_search.checks.documents import check_document
from clip_search.documents.binding import BoundDocument
from clip_search.models import IndexEntry
from tests.integration.searching.actions import counted
from tests.shops.shop.models import Category, Product, ProductImage, Tag


@pytest.fixture(params=["memory", "embedded"])
def declare(request, settings, tmp_path, register_document):
    """Register a document of products on each store; return its class."""
    if request.param == "embedded":
        pytest.importorskip("qdrant_edge")
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": tmp_path / "qdrant"}}

    def add(**attributes) -> type[Document]:
        declared = {"name": "filtered", "text_fields": ["name"]} | attributes
        document_class = type("FilteredDocument", (Document,), declared)
        register_document(document_class, Product)
        return document_class

    return add


def names(results) -> set[str]:
    return {product.name for product in results}


@pytest.mark.django_db(transaction=True)
def test_a_product_is_indexed_without_a_value_that_does_not_fit(declare):
    document_class = declare(filter_fields={"weight": Number("description"), "sku": Keyword("sku")})
    for name, weight in (("light mug", "3"), ("heavy mug", "9"), ("odd mug", "much")):
        Product.objects.create(name=name, sku="M", description=weight)
    Product.objects.create(name="plain mug", sku="M", description="5").refresh_from_db()

    entry = IndexEntry.objects.get(document="filtered", state=IndexEntry.State.FAILED)
    assert entry.error == (
        "The filter 'weight' has no value: description: could not convert string to float: 'much'."
    )
    everything = {"light mug", "heavy mug", "odd mug", "plain mug"}
    assert names(document_class.search("mug")) == everything
    assert names(document_class.search("mug").filter(sku="M")) == everything
    assert names(document_class.search("mug").filter(weight__lte=5)) == {"light mug", "plain mug"}
    assert names(document_class.search("mug").filter(weight__isnull=False)) == everything - {"odd mug"}
    assert names(document_class.search("mug").filter(weight__isnull=True)) == set()
    assert names(document_class.search("mug").exclude(weight__lte=5)) == {"heavy mug"}
    assert names(document_class.search("mug").exclude(weight__lte=5, sku="M")) == {"heavy mug"}
    assert names(document_class.search("mug").exclude(sku="N")) == everything

    odd = Product.objects.get(name="odd mug")
    odd.description = "4"
    odd.save()
    assert not IndexEntry.objects.filter(state=IndexEntry.State.FAILED).exists()
    assert "odd mug" in names(document_class.search("mug").filter(weight=4))


@pytest.mark.django_db(transaction=True)
def test_values_come_from_several_paths(declare):
    document_class = declare(
        filter_fields={"label": Keyword(["category.slug", "tags.name"]), "tag": Keyword("tags.name")},
        related={Category: "products", Tag: "products", ProductImage: "product"},
    )
    kitchen, new = Category.objects.create(name="Kitchen", slug="kitchen"), Tag.objects.create(name="new")
    mug = Product.objects.create(name="mug", category=kitchen)
    mug.tags.add(new)
    Product.objects.create(name="plain mug")
    assert names(document_class.search("mug").filter(label="kitchen")) == {"mug"}
    assert names(document_class.search("mug").filter(label="new")) == {"mug"}
    assert counted(document_class.search("mug"), "label") == {"kitchen": 1, "new": 1}
    assert names(document_class.search("mug").filter(label__isnull=True)) == {"plain mug"}
    (hit,) = document_class.search("mug").filter(label__isnull=True).hits()
    assert hit.payload == {}
    kitchen.slug = "cooking"
    kitchen.save()
    assert names(document_class.search("mug").filter(label="cooking")) == {"mug"}


@pytest.mark.django_db(transaction=True)
def test_values_come_from_a_function(declare):
    document_class = declare(
        filter_fields={
            "band": Keyword(from_=lambda obj: "cheap" if obj.price < 10 else "dear", reads=["price"]),
            "letters": Keyword(from_=lambda obj: sorted(set(obj.name) - {" "})),
            "nothing": Number(from_=lambda obj: None),
        }
    )
    Product.objects.create(name="mug", price=3)
    Product.objects.create(name="gold mug", price=300)
    assert names(document_class.search("mug").filter(band="cheap")) == {"mug"}
    assert names(document_class.search("mug").filter(letters__in=["d", "o"])) == {"gold mug"}
    (hit,) = document_class.search("mug").filter(band="cheap").hits()
    assert hit.payload == {"band": "cheap", "letters": ["g", "m", "u"]}


def bound(**attributes) -> BoundDocument:
    return BoundDocument(
        type("FilteredDocument", (Document,), {"text_fields": ["name"]} | attributes)(Product)
    )


def test_what_a_function_reads_is_watched_if_it_is_declared():
    def band(obj: Product) -> str:
        return "cheap" if obj.price < 10 else "dear"

    assert bound(filter_fields={"band": Keyword(from_=band)}).watched_fields is None
    known = bound(filter_fields={"band": Keyword(from_=band, reads=["price", "images.position"])})
    assert known.watched_fields == {"name", "price"}
    assert known.depends_on("images")
    warnings = [message for message in check_document(known) if message.id == "clip_search.W101"]
    assert "ProductImage" in warnings[0].msg


@pytest.mark.parametrize("arguments", [{}, {"path": ""} | {"from_": str}, {"path": []}])
def test_a_filter_needs_a_path_or_a_function(arguments):
    if arguments.get("path") == "":
        arguments = {"path": "price", "from_": str}
    with pytest.raises(TypeError, match="needs either one or more paths, or from_"):
        Number(**arguments)


class Amount:
    """As django-money's: an amount with a currency."""


class MoneyField(models.DecimalField):
    """As django-money's: its attribute is an object of its own type."""

    def contribute_to_class(self, cls, name, **kwargs):
        super().contribute_to_class(cls, name, **kwargs)
        setattr(cls, name, property(lambda obj: Amount(), lambda obj, value: None))


class Priced(models.Model):
    price = MoneyField(max_digits=9, decimal_places=2)

    class Meta:
        app_label = "shop"
        managed = False

    def __str__(self) -> str:
        return str(self.pk)


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        (Number("name"), "'x' is a number, but 'name' is a CharField with values such as 'text'"),
        (Number(["price", "category.slug"]), "'category.slug' is a SlugField"),
        (Number("in_stock"), "'in_stock' is a BooleanField with values such as True"),
        (Number("released"), "'released' is a DateField"),
        (Number("category"), "'category' is a relation: name its column, as in 'category.pk'"),
        (Bool("name"), "'x' is a bool, but 'name' is a CharField"),
        (Date("name"), "'x' is a date, but 'name' is a CharField"),
        (Date("price"), "'price' is a DecimalField"),
        (Number("price"), ""),
        (Number("views"), ""),
        (Number("pk"), ""),
        (Number("category.pk"), ""),
        (Number("display_price"), ""),
        (Bool("in_stock"), ""),
        (Bool("views"), ""),
        (Date("released"), ""),
        (Keyword("price"), ""),
        (Keyword("category"), ""),
        (Number(from_=lambda obj: "x"), ""),
    ],
)
def test_a_type_that_cannot_fit_its_column_is_an_error(field, fault, monkeypatch):
    monkeypatch.setattr(Product, "display_price", property(lambda self: 1), raising=False)
    found = [m for m in check_document(bound(filter_fields={"x": field})) if m.id == "clip_search.E116"]
    assert [fault in message.msg for message in found] == ([True] if fault else [])


def test_the_field_of_another_package_is_asked_for_a_value():
    document = BoundDocument(
        type("PricedDocument", (Document,), {"filter_fields": {"price": Number("price")}})(Priced)
    )
    (message,) = [m for m in check_document(document) if m.id == "clip_search.E116"]
    assert "'price' is a MoneyField with values such as" in message.msg
    assert "from_=" in message.hint
