"""What a shop writes: `tox run -e types` checks it as the strict mypy of a host would."""

from __future__ import annotations

from typing import assert_type

from django.contrib import admin
from django.db.models import QuerySet

from clip_search import Bool, Document, Hit, Keyword
from clip_search.admin import ClipSearchAdminMixin
from tests.shops.shop.models import Product


class TypedDocument(Document[Product]):
    text_fields = ["name"]
    filter_fields = {"sku": Keyword(["sku", "name"]), "new": Bool(from_=lambda product: product.price > 5)}
    related = {}
    reads = ["is_public"]

    def get_queryset(self) -> QuerySet[Product]:
        return Product.objects.filter(is_public=True)


class TypedAdmin(ClipSearchAdminMixin, admin.ModelAdmin[Product]):
    list_display = ["name"]
    search_fields = ["name"]


def results() -> None:
    found = TypedDocument.search("red mug").filter(sku="1")
    assert_type(list(found[:4]), list[Product])
    assert_type(found.first(), Product | None)
    assert_type(found.hits()[0], Hit)
