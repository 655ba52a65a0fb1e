"""Which columns and relations the index depends on."""

from __future__ import annotations

import pytest
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Now

from clip_search import Keyword
from clip_search.documents import paths
from clip_search.documents.watching import declared_paths
from tests.shops.shop.models import Product

from .declarations import NOON, declare


def watched(queryset, **attributes) -> frozenset[str] | None:
    return declare(text_fields=["name"], get_queryset=lambda self: queryset, **attributes).watched_columns


@pytest.mark.parametrize(
    ("queryset", "columns"),
    [
        (Product.objects.all(), {"name"}),
        (Product.objects.filter(is_public=True), {"name", "is_public"}),
        (Product.objects.exclude(views=3), {"name", "views"}),
        (
            Product.objects.filter(Q(views__gt=3) | ~Q(sku="") & Q(price__in=[1, 2])),
            {"name", "views", "sku", "price"},
        ),
        (Product.objects.filter(category=None), {"name", "category", "category_id"}),
        (Product.objects.filter(released__lte=NOON), {"name", "released"}),
        (Product.objects.select_related("category").order_by("views"), {"name"}),
    ],
)
def test_watched_columns_of_a_queryset(queryset, columns):
    assert watched(queryset) == columns


def test_watched_columns_of_a_join():
    found = watched(Product.objects.filter(category__slug="kitchen"))
    assert {"name", "category", "category_id"} <= found
    assert "views" not in found


SUBQUERY = Product.objects.filter(pk=OuterRef("pk")).values("pk")


@pytest.mark.parametrize(
    "queryset",
    [
        Product.objects.filter(price__gt=F("views")),
        Product.objects.filter(price__range=(F("views"), 9)),
        Product.objects.filter(released__lte=Now()),
        Product.objects.filter(pk__in=Subquery(SUBQUERY)),
        Product.objects.filter(pk__in=Product.objects.filter(views=1)),
        Product.objects.filter(released__year=2024),
        Product.objects.exclude(tags__name="secret"),
        Product.objects.filter(tags__name="shown"),
        Product.objects.filter(images__isnull=False),
        Product.objects.annotate(twice=F("views") * 2).filter(twice__gt=2),
        Product.objects.extra(where=["views > 1"]),
        Product.objects.distinct(),
        Product.objects.filter(views=1).union(Product.objects.filter(views=2)),
        Product.objects.all()[:5],
    ],
)
def test_any_column_counts_where_the_queryset_cannot_be_read(queryset):
    assert watched(queryset) is None


def test_any_column_counts_where_a_method_is_overridden():
    assert watched(Product.objects.all(), get_text=lambda self, obj: "") is None
    assert watched(Product.objects.all(), product_id=lambda self, obj: "") is None
    assert watched(Product.objects.all(), exact_fields=["get_anything"]) is None


def test_a_relation_that_only_the_queryset_reads_counts():
    document = declare(text_fields=["name"], get_queryset=lambda self: Product.objects.filter(tags__name="x"))
    assert document.depends_on("tags")
    assert not declare(text_fields=["name"]).depends_on("tags")
    assert declare(filter_fields={"tag": Keyword("tags.name")}).depends_on("tags")


def test_declared_paths_and_their_prefetches(document):
    declared = list(declared_paths(document.declaration))
    assert ("image_field", "images.original") in declared
    assert ("filter_fields", "tags.name") in declared
    assert len(declared) == 10
    assert not any(paths.mistake(document.model, path) for _, path in declared)
