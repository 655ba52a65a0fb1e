"""Attributes of the host: any name of its own does no harm, and a misspelt declaration is an error."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from clip_search import Document, Keyword, Number, register
from clip_search.documents.registry import registry
from clip_search.exceptions import InvalidDeclaration
from clip_search.models import IndexEntry
from tests.conftest import picture_bytes
from tests.integration.searching.actions import counted
from tests.shops.shop.models import Category, Product, ProductImage

ORDINARY = [
    *("resolve", "content", "rows", "objects", "save", "find", "items", "data", "cache", "config"),
    *(
        "instance",
        "declaration",
        "point_id",
        "overridden",
        "qualifies",
        "keys_of",
        "product_id_field",
        "point",
    ),
    *("index", "product", "price", "title", "slug", "url", "labels", "created", "updated", "locale"),
    *("get_image_url", "get_absolute_url", "text_fields_en", "delete", "update", "all", "count", "page"),
    *("_text_field", "_get_qs", "__hash_key__", "register", "store", "encoder", "entries", "collection"),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["methods", "values"])
def test_a_name_of_the_host_s_own_does_no_harm(kind, register_document, picture):
    def own_method(self, *args, **kwargs):
        raise AssertionError("The package called a method that is the host's own.")

    names = {name: own_method if kind == "methods" else object() for name in ORDINARY}
    attributes = {
        "name": "own-names",
        "text_fields": ["name"],
        "image_field": "images.original",
        "exact_fields": ["sku"],
        "filter_fields": {"category": Keyword("category.slug"), "price": Number("price")},
        "related": {ProductImage: "product", Category: "products"},
        "get_queryset": lambda self: Product.objects.filter(is_public=True),
    }
    document_class = type("OwnNamesDocument", (Document,), names | attributes)
    register_document(document_class, Product)
    entries = IndexEntry.objects.filter(document="own-names")

    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(name="Red mug", sku="M-1", category=kitchen, price=3)
    pot = Product.objects.create(name="Red pot", sku="P-1", category=kitchen, price=9)
    ProductImage.objects.create(product=mug, original=picture("red"))
    assert set(entries.values_list("state", flat=True)) == {"indexed"}

    assert document_class.search("m-1").first() == mug
    assert set(document_class.search("red", filters={"category": "kitchen"})) == {mug, pot}
    assert list(document_class.search("red").exclude(price__gt=5)) == [mug]
    assert counted(document_class.search("red"), "category") == {"kitchen": 2}
    assert list(document_class.similar_to(mug)) == [pot]
    assert list(document_class.search_by_image(picture_bytes("red"))) == [mug]
    kitchen.slug = "cooking"
    kitchen.save()
    assert document_class.search("red").filter(category="cooking").count() == 2
    assert document_class.reindex(Product.objects.all()) == 2
    for command in ("clip_reindex", "clip_verify", "clip_rebuild", "clip_status"):
        call_command(command, "own-names", verbosity=0)
    Product.objects.filter(pk=pot.pk).update(is_public=False)
    assert document_class.reindex([pot]) == 1
    assert list(document_class.search("red")) == [mug]
    mug.delete()
    assert document_class.search("red").count() == 0


MISSPELT = {
    "text_field": "text_fields",
    "text_fileds": "text_fields",
    "image_fields": "image_field",
    "exact_field": "exact_fields",
    "filter_field": "filter_fields",
    "weigths": "weights",
    "max_image": "max_images",
    "relatd": "related",
    "shoud_index": "should_index",
    "get_querset": "get_queryset",
    "get_imags": "get_images",
    "get_payloads": "get_payload",
    "querry_prompt": "query_prompt",
    "names": "name",
    "serach": "search",
    "get_qs": "get_queryset",
    "queryset": "get_queryset",
    "fields": "text_fields",
    "images": "image_field",
    "Meta": "text_fields",
}


@pytest.mark.parametrize(("misspelt", "meant"), MISSPELT.items())
def test_a_misspelt_declaration_is_an_error_with_the_right_name(misspelt, meant):
    before = list(registry)
    attributes = {"name": "misspelt", misspelt: ()} if misspelt != "names" else {"names": ()}
    with pytest.raises(InvalidDeclaration) as error:
        register(Product)(type("ShopDocument", (Document,), attributes))
    assert f"ShopDocument has an attribute {misspelt!r}" in str(error.value)
    assert f"Did you mean {meant!r}?" in str(error.value)
    assert list(registry) == before


def test_a_misspelling_in_a_base_class_of_the_host_is_found_too():
    base = type("ShopMixin", (), {"text_feilds": ["name"]})
    with pytest.raises(InvalidDeclaration, match="Did you mean 'text_fields'"):
        register(Product)(type("ShopDocument", (base, Document), {}))


def test_a_method_is_overridden_only_if_it_has_the_whole_name(register_document):
    document = register_document(
        type("Plain", (Document,), {"name": "plain", "text_fields": ["name"]}), Product
    )
    assert document.overridden == frozenset()
