"""The checks of documents."""

from __future__ import annotations

import inspect

import pytest
from django.apps import apps
from django.core.files.storage import Storage
from django.db import OperationalError, models

from clip_search import Bool, Document, Keyword, Number, checks, register
from clip_search.api import serializers
from clip_search.checks.documents import check_document
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import Registry, registry
from clip_search.templatetags import clip_search as tags
from tests.shops.oscarshop.models import Category as Shelf
from tests.shops.shop.models import Article, Book, Category, Product, ProductImage, SaleProduct, Tag

from .actions import ids


def said_of(model=Product, base=Document, **attributes: object) -> list[str]:
    """Return the numbers said of a document of these attributes."""
    declared = {"text_fields": ["name"]} | attributes
    return ids(check_document(BoundDocument(type("Shop", (base,), declared)(model))))


class OwnId(Document):
    text_fields = ("name",)

    def product_id(self, obj):
        return obj.sku


def test_nothing_is_said_of_a_good_document():
    assert (
        said_of(
            image_field="images.original",
            filter_fields={"category": Keyword("category.slug"), "in_stock": Bool("in_stock")},
            related={ProductImage: "product", Category: ["products"]},
            name="shop-2.of_mugs",
        )
        == []
    )


def test_documents_of_the_given_apps_are_checked(monkeypatch):
    bad = BoundDocument(type("Bad", (Document,), {"text_fields": ["no"]})(Product))
    monkeypatch.setattr(registry, "documents", {"bad": bad})
    assert ids(checks.check_documents()) == ["E103"]
    assert ids(checks.check_documents([apps.get_app_config("shop")])) == ["E103"]
    assert checks.check_documents([apps.get_app_config("auth")]) == []


def test_e019_registration():
    """All ways to go wrong are in tests/hardening/test_registration.py."""
    try:
        with registry.discovering():
            register("shop.Product")(type("ShopDocument", (Document,), {}))
        assert "E019" in ids(checks.check_documents())
    finally:
        registry.mistakes.clear()
    assert "E019" not in ids(checks.check_documents())


def test_w011_no_document(monkeypatch):
    monkeypatch.setattr("clip_search.checks.documents.registry", Registry())
    assert ids(checks.check_documents()) == ["W011"]


@pytest.mark.parametrize("name", ["two words", "x" * 101, "a/b", "é"])
def test_e101_name(name):
    assert said_of(name=name) == ["E101"]


def test_e102_using():
    assert said_of(using="nowhere") == ["E102"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"text_fields": ["nmae"]},
        {"text_fields": ["name"], "image_field": "images.orignal"},
        {"exact_fields": ["category.nope"]},
        {"filter_fields": {"a": Keyword("nope.slug")}},
    ],
)
def test_e103_missing_field(attributes):
    related = {ProductImage: "product", Category: "products"}
    assert said_of(**attributes, related=related) == ["E103"]


def test_e103_lists_the_fields_of_the_model_at_fault():
    document = BoundDocument(type("Shop", (Document,), {"text_fields": ["images.orignal"]})(Product))
    message = next(m for m in check_document(document) if m.id == "clip_search.E103")
    assert "ProductImage has: id, original, position, product." in message.hint
    document = BoundDocument(type("Shop", (Document,), {"text_fields": ["nmae"]})(Product))
    (message,) = check_document(document)
    assert "images, in_stock" in message.hint  # by the name that a path would use


def test_w103_nothing_to_search_by():
    assert said_of(text_fields=[]) == ["W103"]
    assert said_of(text_fields=[], get_text=lambda self, obj: "x") == []
    assert said_of(text_fields=[], get_images=lambda self, obj: []) == []
    assert said_of(text_fields=[], image_field="images.original", related={ProductImage: "product"}) == []


@pytest.mark.parametrize("key", ["_clip", "name", "price__lte", "a.b", "_a", "", "é"])
def test_e105_filter_key(key):
    assert said_of(filter_fields={key: Keyword("sku")}) == ["E105"]


def test_e105_what_endpoints_and_template_tags_take_themselves():
    taken = {*serializers.SearchSerializer().fields, *serializers.PhotoSerializer().fields}
    for tag in (tags.clip_search, tags.similar_products):
        taken |= set(inspect.signature(tag).parameters) - {"filters"}
    assert taken >= {"q", "page", "limit"}
    for key in taken:
        assert said_of(filter_fields={key: Keyword("sku")}) == ["E105"], key
    assert said_of(filter_fields={"format": Keyword("sku")}) == []


@pytest.mark.parametrize(
    "related",
    [
        {"shop.ProductImage": "product"},
        {ProductImage: "prodct"},
        {ProductImage: "product.category"},
        {ProductImage: "product.name"},
        {Category: ["products", "nope"]},
    ],
)
def test_e106_related(related):
    assert said_of(related=related) == ["E106"]


def test_what_is_no_model_watches_nothing():
    assert said_of(image_field="images.original", related={"shop.ProductImage": "product"}) == [
        "E106",
        "W101",
    ]


def test_related_may_lead_to_a_relative_of_the_model():
    assert said_of(model=Book, related={Category: "products"}) == []
    assert said_of(model=SaleProduct, related={Tag: "products"}) == []


def test_e107_get_queryset():
    for wrong in (
        lambda self: Article.objects.all(),
        lambda self: [],
        lambda self: 1 / 0,
    ):
        assert said_of(get_queryset=wrong) == ["E107"]

    def not_migrated(self):
        raise OperationalError("no such table")

    assert said_of(get_queryset=not_migrated) == []


def test_e117_shape_of_the_queryset():
    for wrong in (
        lambda self: Product.objects.all()[:10],
        lambda self: Product.objects.values("name"),
        lambda self: Product.objects.all().union(Product.objects.all()),
    ):
        assert said_of(get_queryset=wrong) == ["E117"]


@pytest.mark.parametrize("count", [0, -1, None, "2"])
def test_e108_max_images(count):
    assert said_of(max_images=count) == ["E108"]


def test_e109_product_id_overridden_alone():
    assert OwnId(Product).product_id(Product(sku="M1")) == "M1"
    assert said_of(base=OwnId) == ["E109"]
    own = {"product_id": lambda self, obj: obj.path}
    assert said_of(Shelf, **own) == ["E109"]
    assert said_of(Shelf, **own, id_field="path") == []


def test_e110_id_field():
    assert said_of(id_field="sku") == ["E110"]
    assert said_of(id_field="nope") == ["E110"]
    assert said_of(id_field="id") == []


@pytest.mark.parametrize(
    "attributes",
    [
        {"text_fields": "name"},
        {"exact_fields": [1]},
        {"image_field": ["images.original"]},
        {"filter_fields": {"sku": "sku"}},
        {"filter_fields": ["sku"]},
        {"filter_fields": {1: Keyword("sku")}},
        {"related": [ProductImage]},
        {"search_fields": ["name"]},
        {"search_fields": {"name": 0}},
        {"search_fields": {"name": -1}},
        {"search_fields": {"name": float("nan")}},
        {"search_fields": {"name": float("inf")}},
        {"search_fields": {"name": True}},
        {"search_fields": {"name": "3"}},
        {"synonyms": ["sofa", "couch"]},
        {"synonyms": {"sofa": "couch"}},
        {"synonyms": {"sofa": [1]}},
        {"stop_words": "shop"},
        {"everything": None},
        {"everything": 1},
    ],
)
def test_e111_wrong_type(attributes):
    assert said_of(**attributes) == ["E111"]


@pytest.mark.parametrize(
    "weights",
    [None, {"text": 0, "image": 0, "words": 0}, {"text": -1}, {"text": "1"}, {"colour": 1}],
)
def test_e112_weights(weights):
    assert said_of(weights=weights) == ["E112"]


def test_weights_may_leave_some_out():
    assert said_of(weights={}) == said_of(weights={"words": 2}) == []
    assert said_of(weights={"text": 0, "image": 0}) == []


def test_words_that_are_declared_well():
    assert (
        said_of(
            search_fields={"name": 3, "category.name": 0.5},
            synonyms={"sofa": ["couch"]},
            stop_words=("shop",),
            everything=True,
            language="fr",
            related={Category: ["products"]},
        )
        == []
    )


def test_e103_a_path_of_search_fields():
    assert said_of(search_fields={"nome": 2}) == ["E103"]


def test_w105_a_language_without_a_stemmer(settings):
    assert said_of(language="ja") == ["W105"]
    assert said_of(language="pt-br") == []
    assert said_of(language="xx") == ["E115"]
    settings.LANGUAGE_CODE = "th"
    assert said_of() == ["W105"]


@pytest.mark.parametrize("prompt", ["a photo of", "a photo of {}", "", None])
def test_e113_query_prompt(prompt):
    assert said_of(query_prompt=prompt) == ["E113"]


def test_e116_type_of_a_filter():
    assert said_of(filter_fields={"price": Number("name")}) == ["E116"]
    assert said_of(filter_fields={"price": Number("name")}, get_payload=lambda self, obj: {}) == []


def test_e115_language():
    assert said_of(language="xx") == ["E115"]
    assert said_of(language="de") == []


def test_e114_key_of_several_columns():
    class Pair(models.Model):
        pk = models.CompositePrimaryKey("name", "number")
        name = models.CharField(max_length=50)
        number = models.IntegerField()

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return self.name

    try:
        assert said_of(Pair) == ["E114"]
    finally:
        del apps.all_models["shop"]["pair"]


@pytest.mark.parametrize("path", ["name", "category.name", "images", "tags.name"])
def test_w102_image_field_is_no_file(path):
    related = {Category: "products", ProductImage: "product", Tag: "products"}
    assert said_of(image_field=path, related=related) == ["W102"]
    assert said_of(image_field=path, related=related, get_images=lambda self, obj: []) == []


@pytest.mark.parametrize("path", ["images.original", "images.all.original", "cover", "main_image.original"])
def test_an_image_field_that_cannot_be_known_is_fine(monkeypatch, path):
    monkeypatch.setattr(Product, "cover", property(lambda self: None), raising=False)
    monkeypatch.setattr(Product, "main_image", property(lambda self: None), raising=False)
    assert "W102" not in said_of(image_field=path)


def test_w104_storage_that_overwrites(monkeypatch):
    class Bucket(Storage):
        file_overwrite = True

    declared = {"image_field": "images.original", "related": {ProductImage: "product"}}
    assert said_of(**declared) == []
    monkeypatch.setattr(ProductImage._meta.get_field("original"), "storage", Bucket())
    assert said_of(**declared) == ["W104"]


def test_w101_relation_that_nobody_watches():
    assert said_of(image_field="images.original") == ["W101"]
    assert said_of(text_fields=["category.name", "category.slug", "tags.name"]) == ["W101", "W101"]
    assert said_of(text_fields=["category.name"], related={Category: "products"}) == []
