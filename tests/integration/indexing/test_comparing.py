"""The nightly run compares the rows with the index and marks what differs."""

from __future__ import annotations

import gc
import weakref

import pytest
from django.db import connection
from django.db.models.signals import post_init
from django.test.utils import CaptureQueriesContext

from clip_search.documents.binding import BoundDocument
from clip_search.indexing import comparing
from clip_search.models import IndexEntry, PostedProduct
from clip_search.types import Report
from tests.shops.shop.models import Category, Product, ProductImage

from .actions import DOCUMENT, State, entry, index, override, point, post_again, text_of

pytestmark = [pytest.mark.django_db, pytest.mark.sql]


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_posted_while_the_nightly_run_compares_has_the_last_word(mug, gone):
    ProductImage.objects.all().delete()
    index()
    rows = Product.objects.filter(pk=mug.pk)
    rows._raw_delete("default") if gone else rows.update(name="Updated")
    pages = list(comparing.compare(DOCUMENT))
    assert [page.changed for page in pages if page.changed] == [[str(mug.pk)]]
    post_again(mug)
    list(comparing.mark_changed(DOCUMENT, pages))
    index()
    assert text_of(mug, "Posted mug")


@pytest.mark.parametrize("saved", [False, True])
def test_what_is_saved_while_the_nightly_run_compares_has_the_last_word(mug, saved):
    post_again(mug)
    index()
    PostedProduct.objects.update(name="Posted otherwise")
    pages = list(comparing.compare(DOCUMENT))
    if saved:
        mug.save()
    list(comparing.mark_changed(DOCUMENT, pages))
    index()
    assert text_of(mug, "Red mug. for tea" if saved else "Posted otherwise")


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """List whose content is read."""
    seen: list[str] = []
    content = BoundDocument.content
    monkeypatch.setattr(
        BoundDocument, "content", lambda self, row: (seen.append(row.sku), content(self, row))[1]
    )
    return seen


def nightly() -> Report:
    return sum(comparing.mark_changed(DOCUMENT, comparing.compare(DOCUMENT)), Report())


def price_of(product: Product) -> float:
    found = point(product)
    assert found and entry(product).state == State.INDEXED
    return found.payload["price"]


def test_the_nightly_run_reads_no_rows_to_find_products_that_it_never_saw(mug):
    IndexEntry.objects.all().delete()
    with CaptureQueriesContext(connection) as queries:
        pages = list(comparing.compare(DOCUMENT))
    assert [page.changed for page in pages if page.changed] == [[str(mug.pk)]]
    read = f"{Product._meta.db_table}.{Product._meta.get_field('name').column}"
    assert not any(read in query["sql"].translate(dict.fromkeys(map(ord, '"`'))) for query in queries)
    nightly()
    index()
    chair = Product(name="Chair", sku="C")
    Product.objects.bulk_create([chair])
    assert [page.changed for page in comparing.compare(DOCUMENT) if page.changed] == [[str(chair.pk)]]


@pytest.mark.parametrize("overridden", [set(), {"should_index"}])
def test_the_nightly_run_has_one_page_of_rows_in_memory(monkeypatch, overridden):
    for hook in overridden:
        override(monkeypatch, hook, lambda obj: True)
    for number in range(6):
        Product.objects.create(name=f"Chair {number}", sku="C")
    index()
    Product.objects.update(price=7)
    rows: list[weakref.ref] = []
    alive: list[int] = []

    def read(instance, **_):
        rows.append(weakref.ref(instance))
        gc.collect()  # a row and what is prefetched for it hold each other
        alive.append(sum(row() is not None for row in rows))

    post_init.connect(read, sender=Product)
    try:
        list(comparing.mark_changed(DOCUMENT, comparing.compare(DOCUMENT, size=2)))
    finally:
        post_init.disconnect(read, sender=Product)
    assert len(alive) >= 6
    assert max(alive) == 2


@pytest.mark.parametrize("moment", ["entry", "row", "point", "mark"])
@pytest.mark.parametrize("indexed", [False, True])
def test_what_is_saved_before_the_nightly_run_comes_to_a_step_is_not_lost(mug, monkeypatch, moment, indexed):
    """The run has read older content by then; it must not be written, whichever process indexes first."""
    index()
    Product.objects.filter(pk=mug.pk).update(price=7)

    def save() -> None:
        monkeypatch.undo()
        Product.objects.get(pk=mug.pk).save()
        Product.objects.filter(pk=mug.pk).update(price=8)
        assert not indexed or index().products

    entries, points = comparing._entries, comparing.read_points
    if moment == "entry":
        monkeypatch.setattr(comparing, "_entries", lambda *args: (save(), entries(*args))[1])
    elif moment == "row":
        monkeypatch.setattr(comparing, "_entries", lambda *args: (entries(*args), save())[0])
    elif moment == "point":
        monkeypatch.setattr(comparing, "read_points", lambda *args: (save(), points(*args))[1])
    pages = list(comparing.compare(DOCUMENT))
    if moment == "mark":
        save()
    list(comparing.mark_changed(DOCUMENT, pages))
    index()
    assert price_of(mug) == 8


@pytest.mark.parametrize("hook", ["", "should_index", "index_as"])
def test_what_the_nightly_run_finds_is_read_again_after_the_claim(mug, asked, monkeypatch, hook):
    if hook:
        override(monkeypatch, hook, {"should_index": lambda row: True, "index_as": lambda row: row}[hook])
    index()
    Product.objects.update(price=7)
    asked.clear()
    assert nightly() == Report()
    assert index().payload_only == 1
    assert asked == ["M-1", "M-1"]
    assert price_of(mug) == 7


def test_a_product_reads_what_is_committed_when_it_is_claimed(mug):
    category = Category.objects.create(name="Kitchen", slug="kitchen")
    mug.category = category
    mug.save()
    Category.objects.filter(pk=category.pk).update(slug="cookware")
    index()
    assert point(mug).payload["category"] == "cookware"
