"""Whatever a `get_queryset()` carries: every row is indexed, or it is refused in words."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.db.models import Count, F, OuterRef, Q, Subquery, Value, Window
from django.db.models.functions import RowNumber, Upper
from django.test.utils import CaptureQueriesContext

from clip_search import Document, Keyword, Number
from clip_search.checks.documents import check_document
from clip_search.documents.registry import registry
from clip_search.exceptions import InvalidDeclaration
from clip_search.indexing import comparing
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.testing import pause_indexing
from tests.conftest import registered
from tests.shops.shop.models import Category, Product, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]
COMMANDS = ("clip_reindex", "clip_verify", "clip_rebuild")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch) -> None:
    monkeypatch.setattr(comparing, "compare", _in_pages_of_two(comparing.compare))
    for command in ("clip_reindex", "clip_verify"):
        module = f"clip_search.management.commands.{command}"
        monkeypatch.setattr(f"{module}.compare", comparing.compare)


def _in_pages_of_two(compare: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: compare(*args, **options | {"size": 2})


@pytest.fixture
def products() -> list[Product]:
    """Nine public products and one that is not, in three categories, with two tags each."""
    categories = [
        Category.objects.create(name=name, slug=name.lower()) for name in ("Kitchen", "Office", "Bar")
    ]
    tags = [Tag.objects.create(name=name) for name in ("red", "small")]
    with pause_indexing():
        made = [
            Product.objects.create(
                name=f"Mug {9 - n}", sku=f"M-{n}", description=f"no {n}", price=n, category=categories[n % 3]
            )
            for n in range(10)
        ]
        made[9].is_public = False
        made[9].save()
    for product in made:
        product.tags.add(*tags)
    IndexEntry.objects.all().delete()
    return made[:9]


@contextmanager
def declared(get_queryset: Callable[[], Any], **attributes: Any) -> Iterator[type[Document]]:
    values = {
        "name": "shaped",
        "text_fields": ["name", "description"],
        "filter_fields": {"price": Number("price"), "category": Keyword("category.slug")},
        "related": {Category: "products"},
        "get_queryset": lambda self: get_queryset(),
        **attributes,
    }
    document_class = type("ShapedDocument", (Document,), values)
    with registered(document_class, Product):
        yield document_class


def run(command: str) -> str:
    output = io.StringIO()
    call_command(command, "shaped", stdout=output, stderr=output)
    return output.getvalue()


def indexed() -> dict[str, float]:
    """Return the prices in the index, by product id."""
    collection = Collection.objects.get(document="shaped", state="live")
    points = get_store().scroll(collection.name)
    return {p.stamp.product_id: p.payload["price"] for p in points if not p.stamp.removed}


def public() -> models.QuerySet[Product]:
    return Product.objects.filter(is_public=True)


RIGHT: dict[str, Callable[[], models.QuerySet[Product]]] = {
    "order": lambda: public().order_by("name"),
    "order by a relation": lambda: public().order_by("category__name", "-price"),
    "order by an expression": lambda: public().order_by(Upper("name").desc()),
    "random order": lambda: public().order_by("?"),
    "reverse": lambda: public().reverse(),
    "reverse of an order": lambda: public().order_by("pk").reverse(),
    "extra order": lambda: public().extra(order_by=["-name"]),
    "distinct": lambda: public().filter(tags__name__in=["red", "small"]).distinct(),
    "distinct and order": lambda: public().filter(tags__isnull=False).order_by("tags__name").distinct(),
    "rows that a join repeats": lambda: public().filter(tags__name__in=["red", "small"]),
    "annotation": lambda: public().annotate(upper=Upper("name")).filter(upper__startswith="MUG"),
    "aggregate": lambda: public().annotate(count=Count("tags")).filter(count=2),
    "aggregate and distinct": lambda: public().annotate(count=Count("tags")).filter(count=2).distinct(),
    "alias": lambda: public().alias(one=Value(1)).filter(one=1),
    "subquery": lambda: public().annotate(
        slug=Subquery(Category.objects.filter(pk=OuterRef("category")).values("slug")[:1])
    ),
    "extra column": lambda: public().extra(select={"one": "1"}),
    "lock": lambda: public().select_for_update(),
    "lock without waiting": lambda: public().select_for_update(skip_locked=True),
    "only": lambda: public().only("sku"),
    "only of a relation": lambda: public().select_related("category").only("sku", "category__name"),
    "defer": lambda: public().defer("name", "description", "price", "category"),
    "defer and only": lambda: public().defer("name").only("price", "description"),
    "select_related": lambda: public().select_related("category"),
    "prefetch_related": lambda: public().prefetch_related("tags", "category"),
    "prefetch of a slice": lambda: public().prefetch_related(
        models.Prefetch("tags", Tag.objects.order_by("name")[:1], to_attr="first_tag")
    ),
    "complex conditions": lambda: public().filter(Q(price__lt=5) | ~Q(price__lt=5)).exclude(pk=None),
    "combined by |": lambda: public().filter(price__lt=5) | public().filter(price__gte=5),
    "combined by &": lambda: public() & Product.objects.filter(price__gte=0),
    "a slice inside": lambda: Product.objects.filter(
        pk__in=list(public().order_by("pk").values_list("pk", flat=True)[:9])
    ),
    "a set operation inside": lambda: Product.objects.filter(
        pk__in=public().filter(price__lt=5).values("pk").union(public().filter(price__gte=5).values("pk"))
    ),
    "a window inside": lambda: Product.objects.filter(
        pk__in=public().annotate(row=Window(RowNumber(), order_by="pk")).filter(row__lte=9).values("pk")
    ),
    "another database": lambda: public().using("other"),
    "an expression": lambda: public().filter(price__lte=F("price")),
}


@pytest.mark.parametrize("shape", RIGHT)
@pytest.mark.parametrize("walked", ["as products", "row by row"])
def test_every_row_is_indexed(products, shape, walked):
    hooks = {} if walked == "as products" else {"should_index": lambda self, obj: True}
    with declared(RIGHT[shape], **hooks) as document_class:
        document = registry.of_class(document_class)
        assert [message.id for message in check_document(document)] == []
        expected = {str(product.pk): float(product.price) for product in products}
        for command in COMMANDS if walked == "as products" else COMMANDS[:1]:
            run(command)
            assert indexed() == expected
        assert "0 differ" in run_dry("clip_verify")
        assert {row.pk for row in document_class.search("mug")} == {product.pk for product in products}
        products[0].price = 99
        products[0].save()
        assert indexed() == expected | {str(products[0].pk): 99.0}
        Product.objects.filter(pk=products[1].pk).update(is_public=False)
        if "inside" not in shape:
            run("clip_reindex")
            assert len(indexed()) == 8


def run_dry(command: str) -> str:
    output = io.StringIO()
    call_command(command, "shaped", dry_run=True, stdout=output, stderr=output)
    return output.getvalue()


def test_no_rows_at_all(products):
    with declared(lambda: Product.objects.none()):
        for command in COMMANDS:
            run(command)
        assert indexed() == {}


@pytest.mark.parametrize("shape", ["only", "defer", "defer and only"])
def test_a_deferred_column_that_is_read_takes_no_query_of_its_own(products, shape):
    with declared(RIGHT[shape]) as document_class:
        document = registry.of_class(document_class)
        with CaptureQueriesContext(connection) as captured:
            for row in document.rows():
                document.content(row)
        assert len(captured) == 2  # one of them prefetches the categories


def test_a_deferred_column_that_is_not_read_stays_deferred(products):
    for shape in (lambda: public().defer("sku", "name"), lambda: public().only("views")):
        with declared(shape) as document_class:
            row = registry.of_class(document_class).rows().first()
            assert "sku" in row.get_deferred_fields()
            assert not {"name", "description", "price"} & row.get_deferred_fields()


def test_no_row_is_locked(products):
    with declared(RIGHT["lock"]) as document_class, CaptureQueriesContext(connection) as captured:
        list(registry.of_class(document_class).rows())
    assert not any("FOR UPDATE" in query["sql"] for query in captured)


# What is refused.

WRONG: dict[str, Callable[[], Any]] = {
    "union": lambda: public().union(public()),
    "intersection": lambda: public().intersection(public()),
    "difference": lambda: public().difference(Product.objects.filter(price=3)),
    "slice": lambda: public().order_by("price")[:5],
    "slice from the middle": lambda: public()[3:],
    "values": lambda: public().values("name"),
    "values_list": lambda: public().values_list("name", flat=True),
    "named values": lambda: public().values_list("name", named=True),
    "grouped values": lambda: public().values("category").annotate(count=Count("pk")),
    "dates": lambda: public().dates("released", "year"),
    "distinct on": lambda: public().order_by("category").distinct("category"),
    "window": lambda: public().annotate(row=Window(RowNumber(), order_by="pk")),
    "window in a filter": lambda: public().alias(row=Window(RowNumber(), order_by="pk")).filter(row__lte=3),
}


@pytest.mark.parametrize("shape", WRONG)
def test_what_cannot_be_walked_is_refused_in_words(products, shape, caplog):
    with declared(lambda: public()):
        run("clip_reindex")
    with declared(WRONG[shape]) as document_class:
        (message,) = check_document(registry.of_class(document_class))
        assert message.id == "clip_search.E117"
        for command in COMMANDS:
            with pytest.raises(
                CommandError, match=r"ShapedDocument\.get_queryset\(\) (is|gives|has) .+\. \w"
            ):
                run(command)
        with pytest.raises(InvalidDeclaration, match="get_queryset"):
            list(document_class.search("mug"))
        products[0].price = 99
        products[0].save()  # the shop's own save is none of its business
        assert "Cannot index document=shaped" in caplog.text
        assert IndexEntry.objects.get(document="shaped", product_id=str(products[0].pk)).state == "pending"
    assert len(indexed()) == 9  # nothing was removed


@pytest.mark.parametrize("wrong", [lambda: [], lambda: Category.objects.all(), lambda: Product.objects])
def test_what_is_no_queryset_of_the_model_is_refused_too(products, wrong):
    with declared(wrong), pytest.raises(CommandError, match="is no QuerySet of Product"):
        run("clip_reindex")


# reindex() takes any queryset.


OF_PRODUCTS = [
    *(shape for shape in RIGHT if shape != "another database"),
    *(shape for shape in WRONG if shape not in ("grouped values", "dates", "distinct on")),
]


@pytest.mark.parametrize("shape", OF_PRODUCTS)
def test_reindex_schedules_the_rows_of_any_queryset(products, shape):
    rows = (RIGHT | WRONG)[shape]()
    if rows.query.select_for_update and connection.features.has_select_for_update:
        pytest.skip("The shop itself opens the transaction for its locks.")
    with declared(public) as document_class, pause_indexing():
        count = document_class.reindex(rows)
    assert 3 <= count <= 9
    assert IndexEntry.objects.filter(document="shaped").count() == count
