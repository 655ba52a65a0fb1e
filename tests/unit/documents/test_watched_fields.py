"""Which columns and relations the index depends on."""

from __future__ import annotations

import pytest

from clip_search import Keyword
from clip_search.documents import paths
from clip_search.documents.watching import declared_paths
from tests.shops.shop.models import Product

from .declarations import declare


def test_declared_columns_are_watched():
    document = declare(text_fields=["name"], filter_fields={"category": Keyword("category.slug")})
    assert document.watched_fields == {"name", "category", "category_id"}
    labelled = declare(
        filter_fields={"tag": Keyword("tags.pk", label="tags.name"), "sku": Keyword("sku", label="name")}
    )
    assert labelled.watched_fields == {"sku", "name"}
    assert labelled.depends_on("tags")
    assert declare(text_fields=["name"], id_field="sku").watched_fields == {"name", "sku"}
    assert declare(text_fields=["name", "images.original"]).watched_fields == {"name"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"get_queryset": lambda self: Product.objects.filter(is_public=True)},
        {"get_text": lambda self, obj: ""},
        {"product_id": lambda self, obj: ""},
        {"exact_fields": ["get_anything"]},
    ],
)
def test_any_column_counts_if_a_method_of_the_host_may_read_it(attributes):
    assert declare(text_fields=["name"], **attributes).watched_fields is None


@pytest.mark.parametrize(
    ("reads", "columns"),
    [
        ([], {"name"}),
        (["is_public"], {"name", "is_public"}),
        (["category.slug", "images.original"], {"name", "category", "category_id"}),
    ],
)
def test_reads_says_what_the_methods_of_the_host_read(reads, columns):
    methods = {"get_queryset": lambda self: Product.objects.filter(is_public=True), "exact_fields": ["code"]}
    document = declare(text_fields=["name"], reads=reads, **methods)
    assert document.watched_fields == columns
    assert document.depends_on("images") is ("images.original" in reads)


def test_a_relation_that_only_the_queryset_reads_counts():
    document = declare(text_fields=["name"], get_queryset=lambda self: Product.objects.filter(tags__name="x"))
    assert document.depends_on("tags")
    assert not declare(text_fields=["name"]).depends_on("tags")
    assert declare(filter_fields={"tag": Keyword("tags.name")}).depends_on("tags")


def test_declared_paths_and_their_prefetches(document):
    declared = list(declared_paths(document.declaration))
    assert ("image_field", "images.original") in declared
    assert ("filter_fields", "tags.name") in declared
    assert len(declared) == 11
    assert not any(paths.mistake(document.model, path) for _, path in declared)
