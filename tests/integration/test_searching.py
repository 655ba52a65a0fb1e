"""Search, from Python: what is found and in which order, at what cost, and what is said when it cannot be."""

from __future__ import annotations

import asyncio
import builtins
import datetime
import io
import os
import random
import socket
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.paginator import Paginator
from django.core.validators import validate_slug
from django.db import DatabaseError, connections
from django.template import Context, Template
from django.utils.translation import gettext_lazy
from PIL import Image
from rest_framework.pagination import LimitOffsetPagination, PageNumberPagination
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from clip_search import Keyword, SearchUnavailable, indexing, searching
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.exceptions import (
    BadImage,
    CollectionMissing,
    ModelUnavailable,
    SearchTooDeep,
    SetupError,
    StoreUnavailable,
    UnknownFilter,
)
from clip_search.indexing import rebuilding
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.searching import SearchResults, warm_up
from clip_search.searching.queries import ImageQuery, MoreLikeThis, TextQuery
from clip_search.signals import search_performed
from clip_search.stores import get_store
from clip_search.stores.base import Query
from clip_search.stores.embedded.sharing import SharedHandle
from clip_search.testing import pause_indexing
from clip_search.types import POSTED_SOURCE
from tests.conftest import ROOT, forget_declarations, picture_bytes, wait_until
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Article, Book, Category, Product, ProductImage, Tag

pytestmark = pytest.mark.django_db

COLOURS = ("red", "blue", "green", "yellow", "black", "white")
THINGS = ("mug", "cup", "vase", "lamp", "chair", "bowl", "plate", "spoon", "clock", "towel")


@pytest.fixture
def document() -> BoundDocument:
    return registry.get("product")


@pytest.fixture
def configured(settings) -> Callable[..., None]:
    """Return a function that changes keys of CLIP_SEARCH."""

    def change(**keys: object) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | keys

    return change


@pytest.fixture(params=["memory", "embedded"])
def any_store(request, configured) -> Iterator[str]:
    """Run the test on each of Qdrant's engines: the client's own is that of a server."""
    memory = Path("/dev/shm")  # noqa: S108, the folder made in it is nobody else's
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        configured(
            QDRANT={
                "memory": {"backend": "clip_search.testing.MemoryStore"},
                "embedded": {"path": f"{folder}/qdrant"},
            }[request.param]
        )
        if request.param == "embedded":
            pytest.importorskip("qdrant_edge")
        yield request.param
        get_store().close()


@pytest.fixture
def asked(monkeypatch) -> list[Query]:
    """Return the queries that the store gets."""
    store, queries = get_store(), []
    query = store.query
    monkeypatch.setattr(store, "query", lambda name, q: queries.append(q) or query(name, q))
    return queries


def make(names: Iterable[str], **fields: Any) -> list[Product]:
    rows = [Product(name=name, sku=f"SKU-{number:04d}", **fields) for number, name in enumerate(names)]
    return Product.objects.bulk_create(rows)


def index(document: BoundDocument, products: Iterable[Product] | None = None) -> None:
    """Have products indexed, here and now."""
    rows = Product.objects.all() if products is None else products
    IndexEntry.objects.mark_changed(document, document.product_ids(rows))
    index_due(document)


def index_due(document: BoundDocument) -> None:
    for _report in indexing.index_due(document):
        pass


def with_pictures(products: list[Product], colours: Iterable[str]) -> None:
    with pause_indexing():
        for product, colour in zip(products, colours, strict=False):
            picture = ContentFile(picture_bytes(colour), name=f"{product.pk}.png")
            ProductImage.objects.create(product=product, original=picture)


@pytest.fixture
def shop(document) -> list[Product]:
    """Sixty products, each a colour and a thing; the first thirty have a picture."""
    products = make(f"{colour} {thing}" for thing in THINGS for colour in COLOURS)
    with_pictures(products[:30], COLOURS * 5)
    index(document)
    return products


@pytest.fixture
def few(document) -> list[Product]:
    """Six products, where it does not matter which."""
    products = make(f"{colour} mug" for colour in COLOURS)
    index(document)
    return products


def keys(results: Iterable[Product]) -> list[int]:
    return [product.pk for product in results]


def post(document: BoundDocument, product_id: str, name: str, **metadata: Any) -> None:
    PostedProduct.objects.save_product(document, product_id, {"name": name, "metadata": metadata})
    IndexEntry.objects.mark_changed(document, [product_id], source=POSTED_SOURCE)
    index_due(document)


async def in_a_list(results: SearchResults[Any]) -> list[Any]:
    """Return what asynchronous code sees."""
    return [row async for row in results]


def fail_with(error: Exception) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> Any:
        raise error

    return fail


# Paging


def test_a_thousand_products_in_pages_of_24_are_each_there_once(any_store, document):
    products = make(f"{COLOURS[n % 6]} {THINGS[n % 10]} {n}" for n in range(1000))
    index(document)
    paginator = Paginator(type(document.declaration).search("red mug"), 24)
    with get_store().session(Collection.objects.get().name):
        seen = [product.pk for page in paginator for product in page]
    assert paginator.count == 1000
    assert len(seen) == 1000
    assert set(seen) == set(keys(products))


def test_the_slice_reaches_the_engine(shop, document, asked):
    list(type(document.declaration).search("shiny red mug")[24:36])
    near = [query for query in asked if query.retrievers]
    assert [(query.offset, query.limit, query.depth) for query in near] == [(24, 12, searching.DEPTH)]
    asked.clear()
    type(document.declaration).search("shiny red mug")[10:50][5:100].hits()
    assert [(query.offset, query.limit) for query in asked if query.retrievers] == [(15, 35)]


@pytest.mark.parametrize("by", ["words", "photo", "product", "nothing"])
def test_many_equal_products_are_each_there_once(any_store, document, by):
    products = make(["red mug"] * 80)
    with_pictures(products, ["red"] * 80)
    index(document)
    results = {
        "words": lambda: type(document.declaration).search("a mug that is red"),
        "photo": lambda: type(document.declaration).search_by_image(picture_bytes("red")),
        "product": lambda: type(document.declaration).similar_to(products[0]),
        "nothing": lambda: type(document.declaration).search(""),
    }[by]()
    with results.session():
        seen = [product.pk for start in range(0, 80, 7) for product in results[start : start + 7]]
    expected = set(keys(products)) - ({products[0].pk} if by == "product" else set())
    assert len(seen) == len(expected)
    assert set(seen) == expected


def test_a_page_beyond_the_last_is_empty(shop, document):
    assert list(type(document.declaration).search("mug")[60:84]) == []
    assert list(type(document.declaration).search("mug")[999:]) == []


@pytest.mark.parametrize("window", [slice(1001, 1024), slice(1000, None), slice(5000, 5001), slice(0, 1001)])
def test_too_deep_is_an_error_that_says_so(shop, document, window):
    with pytest.raises(SearchTooDeep, match="end at 1000"):
        type(document.declaration).search("mug")[window]


def test_the_last_window_of_a_pager_may_reach_over(shop, document):
    assert list(type(document.declaration).search("mug")[990:1014]) == []
    assert list(type(document.declaration).search("mug")[1000:1000]) == []
    last = type(document.declaration).search("mug")[1000:1024]
    assert (list(last), last.hits(), last.count(), bool(last)) == ([], [], 0, False)
    with pytest.raises(SearchTooDeep):
        type(document.declaration).search("mug")[900:][100:]


@pytest.mark.parametrize("window", [slice(None, None, 2), slice(-3, None), slice(0, -1)])
def test_windows_that_a_ranking_does_not_have(shop, document, window):
    with pytest.raises(ValueError, match="forwards"):
        type(document.declaration).search("mug")[window]


def test_one_by_one(shop, document):
    results = type(document.declaration).search("red mug")
    assert results[0] == shop[0]
    with pytest.raises(ValueError, match="Negative"):
        results[-1]
    with pytest.raises(IndexError):
        results[60]
    with pytest.raises(IndexError):
        results[1000]
    with pytest.raises(SearchTooDeep):
        results[1001]


def test_slices_of_slices_stay_within(shop, document):
    everything = keys(type(document.declaration).search("red mug"))
    part = type(document.declaration).search("red mug")[10:20]
    assert keys(part[2:5]) == everything[12:15]
    assert keys(part[5:50]) == everything[15:20]
    assert keys(part[5:]) == everything[15:20]
    assert (len(part[5:50]), part[12:].count()) == (5, 0)
    assert repr(part) == "<SearchResults of 'product' from 10 to 20>"


@pytest.mark.parametrize(
    ("pagination", "query"), [(PageNumberPagination, "page=2"), (LimitOffsetPagination, "limit=7&offset=7")]
)
def test_rest_framework_pages(shop, document, pagination, query):
    class Paged(pagination):
        page_size = default_limit = 7

    paginator = Paged()
    request = Request(APIRequestFactory().get(f"/?{query}"))
    page = paginator.paginate_queryset(type(document.declaration).search("red mug"), request)
    assert keys(page) == keys(type(document.declaration).search("red mug")[7:14])
    assert paginator.get_paginated_response([]).data["count"] == 60


def test_rest_framework_asks_for_a_page_behind_the_last(document):
    class Paged(LimitOffsetPagination):
        default_limit, max_limit = 7, 50

    make(f"mug {n}" for n in range(1001))
    index(document)
    request = Request(APIRequestFactory().get("/?offset=1000"))
    assert Paged().paginate_queryset(type(document.declaration).search("mug"), request) == []


# What iterating gives, and what it costs


def test_instances_in_rank_order_with_scores(shop, document):
    found = list(type(document.declaration).search("big red mug")[:10])
    assert found[0].name.startswith("red")
    scores = [product.search_score for product in found]
    assert scores == sorted(scores, reverse=True)
    hits = type(document.declaration).search("big red mug")[:10].hits()
    assert [(hit.product_id, hit.score) for hit in hits] == [(str(p.pk), p.search_score) for p in found]


def test_a_page_takes_two_statements(shop, document, django_assert_num_queries):
    with django_assert_num_queries(2):
        assert len(list(type(document.declaration).search("red mug")[:24])) == 24
    with django_assert_num_queries(2):
        page = Paginator(type(document.declaration).search("red mug", filters={"price__gte": 0}), 24).page(2)
        assert (len(list(page)), page.paginator.num_pages) == (24, 3)
    with django_assert_num_queries(1):
        results = type(document.declaration).search("red mug")
        assert (len(results[:5].hits()), results.count(), bool(results), len(results)) == (5, 60, True, 60)
        results.facet("category")


def test_a_page_is_loaded_once(shop, document, asked, django_assert_num_queries):
    page = type(document.declaration).search("red mug")[:5]
    assert page
    with django_assert_num_queries(1):
        assert list(page) == list(page)
        assert (len(page), len(page.hits())) == (5, 5)
        assert page.hits(with_rows=True)[0].instance == shop[0]
        assert [page[rank] for rank in range(5)] == list(page)
        with pytest.raises(IndexError):
            page[5]
    assert len([query for query in asked if query.retrievers]) == 1


def test_select_and_prefetch_of_the_host_are_kept(shop, document, monkeypatch, django_assert_num_queries):
    Product.objects.update(category=Category.objects.create(name="Kitchen", slug="kitchen"))
    rows = Product.objects.select_related("category").prefetch_related("images")
    monkeypatch.setattr(type(document.declaration), "get_queryset", lambda self: rows.all())
    with django_assert_num_queries(3):
        for product in type(document.declaration).search("red mug")[:24]:
            assert product.category.slug == "kitchen"
            list(product.images.all())


def test_nothing_is_asked_before_it_is_used(document, django_assert_num_queries):
    with django_assert_num_queries(0):
        results = type(document.declaration).search("mug")[5:10]
        assert "product" in repr(results)


def test_an_embedded_store_is_opened_once_a_page(configured, tmp_path, document, monkeypatch):
    pytest.importorskip("qdrant_edge")
    configured(QDRANT={"path": str(tmp_path / "qdrant")})
    products = make(f"{colour} mug" for colour in COLOURS)
    index(document)
    get_store().close()
    handle, opened = get_store()._handle(Collection.objects.get().name), []
    load = handle._load
    monkeypatch.setattr(handle, "_load", lambda: opened.append(handle) or load())
    monkeypatch.setattr(SharedHandle, "_is_wanted", lambda self: True)  # another process waits all the time
    assert next(iter(type(document.declaration).search("red mug")[:5])) == products[0]
    assert len(opened) == 1
    assert list(type(document.declaration).similar_to(products[0])[:5])
    assert len(opened) == 2
    results = type(document.declaration).search("red mug")
    with results.session():
        assert (len(results[:5].hits()), results.count(), results.facet("category")) == (5, 6, {})
    assert len(opened) == 3


# Ranking


def test_words_find_by_what_is_said_and_by_what_is_shown(document):
    said, shown, neither = make(["red things", "thing one", "thing two"])
    with_pictures([said, shown, neither], ["white", "red", "blue"])
    index(document)
    found = keys(type(document.declaration).search("something red"))
    assert set(found[:2]) == {said.pk, shown.pk}


def weights_of(query: Query) -> dict[str, float]:
    return {retriever.using: retriever.weight for retriever in query.retrievers}


def test_weights_choose_between_text_and_image(document, asked):
    said, shown = make(["red things", "thing"])
    with_pictures([said, shown], ["white", "red"])
    index(document)
    search = type(document.declaration).search
    assert keys(search("something red", weights={"image": 0}))[0] == said.pk
    assert keys(search("something red", weights={"text": 0}))[0] == shown.pk
    asked.clear()
    search("something red", weights={"text": 2})[:5].hits()
    assert weights_of(asked[-1]) == {"text": 1.0, "image": 0.5}


def test_weights_of_the_document_are_the_default(shop, document, asked, monkeypatch):
    monkeypatch.setattr(type(document.declaration), "weights", {"text": 3})
    type(document.declaration).search("a red mug")[:5].hits()
    assert weights_of(asked[-1]) == {"text": 1.0}


@pytest.mark.parametrize(
    "weights", [{"text": 2, "image": 1}, {"text": 5, "image": 5}, {"text": 0, "image": 9}]
)
def test_scores_are_in_rank_order_whatever_the_weights(any_store, document, weights):
    other, named = make(["a red mug red mug", "red mug"])
    with_pictures([other], ["red"])
    index(document)
    hits = type(document.declaration).search("RED mug", weights=weights).hits()
    assert [hit.product_id for hit in hits] == [str(named.pk), str(other.pk)]
    assert hits[0].score >= hits[1].score
    assert hits[0].score >= 1


@pytest.fixture
def opposed(document) -> list[Product]:
    """Eight products that the words "red mug" rank in this order, and their pictures in the reverse one.

    No two of them score the same by either, so that no order is a matter of chance.
    """
    names = [" ".join(["mug", *(f"word{number}x{extra}" for extra in range(number))]) for number in range(8)]
    products = make(names)
    with pause_indexing():
        for number, product in enumerate(products):
            image = Image.new("RGB", (32, 32), "white")
            image.paste("red", (0, 0, 32, 4 * (number + 1)))
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            picture = ContentFile(buffer.getvalue(), name=f"{product.pk}.png")
            ProductImage.objects.create(product=product, original=picture)
    index(document)
    return products


@pytest.mark.parametrize(
    "ratio",
    [
        [{"text": 1, "image": 0.5}, {"text": 2, "image": 1}, {"text": 1e6, "image": 5e5}],
        [{"text": 1, "image": 1}, {"text": 7, "image": 7}, {"text": 1e-9, "image": 1e-9}],
        [{"text": 1, "image": 3}, {"text": 1e6, "image": 3e6}],
    ],
)
def test_only_the_ratio_of_the_weights_counts(any_store, opposed, document, ratio):
    search = type(document.declaration).search
    first, *others = (search("a red mug", weights=weights).hits() for weights in ratio)
    assert len(first) == 8
    assert others == [first] * len(others)


def test_a_weight_that_outweighs_the_other_leaves_its_ranking_alone(any_store, opposed, document):
    search = type(document.declaration).search
    by_text, by_image = keys(opposed), keys(reversed(opposed))
    assert keys(search("a red mug", weights={"image": 0})) == by_text
    assert keys(search("a red mug", weights={"text": 0})) == by_image
    assert keys(search("a red mug", weights={"text": 1_000_000, "image": 1})) == by_text
    assert keys(search("a red mug", weights={"text": 1, "image": 1_000_000})) == by_image
    assert keys(search("a red mug")) not in (by_text, by_image)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"words": 1}, "no weight 'words'"),
        ({"text": -1}, "'text' is -1.0"),
        ({"image": float("nan")}, "'image' is nan"),
        ({"image": float("inf")}, "'image' is inf"),
        ({"text": 0, "image": 0}, "Both weights are 0"),
    ],
)
def test_weights_that_are_none_are_refused(document, weights, message):
    with pytest.raises(ValueError, match=message):
        type(document.declaration).search("mug", weights=weights)


def test_of_several_images_the_best_counts(any_store, document, monkeypatch):
    monkeypatch.setattr(type(document.declaration), "max_images", 2)
    first, second, third = make(["one", "two", "three"])
    with_pictures([first, first, second, second, third], ["blue", "red", "blue", "green", "green"])
    index(document)
    by_photo = type(document.declaration).search_by_image(picture_bytes("red"))
    assert by_photo[0] == first
    assert set(type(document.declaration).search_by_image(picture_bytes("green"))[:2]) == {second, third}
    assert first not in type(document.declaration).similar_to(first)


# Exact words


def odd(text: str) -> list[str]:
    """Return a text as shoppers type it."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    spaced = f"  {text.replace(' ', '   ')}\t"
    return [text, text.upper(), text.lower(), bare, spaced, *(text.replace("-", sign) for sign in " _")]


def test_every_sku_and_name_of_the_demo_is_first(document, monkeypatch, asked):
    monkeypatch.syspath_prepend(ROOT / "example_project")
    from demo.catalogue import products

    demo = products()
    made = Product.objects.bulk_create(
        Product(name=p.name, sku=p.sku, description=p.description) for p in demo
    )
    index(document)
    for product in made:
        for text in (product.sku, product.name):
            hits = [
                type(document.declaration).search(t)[:1].hits()[0]
                for t in [*odd(text), text.replace(" ", "")]
            ]
            assert {(hit.product_id, hit.score) for hit in hits} == {(str(product.pk), 1.0)}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Théière à l’œuf", ["THEIERE A L'ŒUF", "theiere a l'oeuf"]),
        ("Groß", ["gross"]),
        ("Çay bardağı", ["CAY BARDAGI"]),
        ("Ⅷ ﬁne", ["viii fine"]),
        ("RM-001", ["RM001", "rm 001", "rm_001"]),
        ("Galaxy S20+", ["galaxy s20+", "GALAXY-S20+"]),
        ("C#", ["c#", " C#!"]),
    ],
)
def test_spelling_does_not_matter(document, name, typed):
    meant, *_ = make([name, "Galaxy S20", "Galaxy", "C", "C++", "RM-002", "bardak", f"{name} other"])
    index(document)
    for text in [*odd(name), *typed]:
        first, second = type(document.declaration).search(text)[:2]
        assert (first, first.search_score) == (meant, 1.0)
        assert second.search_score < 1, text


def test_many_products_of_one_name_come_first_and_page(any_store, document):
    named = make(["Mug"] * 40 + [f"mug number {n}" for n in range(40)])[:40]
    index(document)
    results = type(document.declaration).search("MÚG")
    with results.session():
        seen = [key for start in range(0, 80, 9) for key in keys(results[start : start + 9])]
    assert set(seen[:40]) == set(keys(named))
    assert len(set(seen)) == len(seen) == 80
    assert keys(type(document.declaration).search("MÚG")[36:44]) == seen[36:44]


def test_exact_ones_respect_filters(document):
    dear, cheap = make(["Mug", "Mug"])
    Product.objects.filter(pk=dear.pk).update(price=50)
    index(document)
    assert keys(type(document.declaration).search("mug", filters={"price__lt": 10})) == [cheap.pk]


def test_an_exact_one_needs_no_vector(document, monkeypatch):
    bare, *_ = make(["X-1", "other"])
    monkeypatch.setattr(type(document.declaration), "text_fields", ())
    index(document)
    assert type(document.declaration).search("x 1")[0] == bare


@pytest.mark.parametrize("text", ["!!!", "\ud800", "a\x00b", "💡", "x" * 20_000, "مرحبا", "“'\"\\"])
def test_odd_texts_are_texts(any_store, few, document, text):
    assert len(list(type(document.declaration).search(text)[:5])) == 5


@pytest.mark.parametrize("text", ["", "  \t\n"])
def test_no_words_find_what_meets_the_filters(any_store, document, text):
    products = make(f"mug {n}" for n in range(5))
    Product.objects.filter(pk=products[0].pk).update(price=50)
    index(document)
    results = type(document.declaration).search(text, filters={"price": 0})
    assert set(keys(results)) == set(keys(products[1:]))
    assert results.count() == 4


# Filters and facets


def random_shop(document: BoundDocument) -> None:
    rng = random.Random(1)
    categories = [
        Category.objects.create(name=s, slug=s) for s in ("kitchen", "bath", "garden", "naïve café")
    ]
    tags = [Tag.objects.create(name=name) for name in ("new", "sale", "gift")]
    products = make(f"{rng.choice(COLOURS)} {rng.choice(THINGS)}" for _ in range(60))
    with pause_indexing():
        for product in products:
            product.category = rng.choice([*categories, None])
            product.price = Decimal(rng.randint(0, 400)) / 20
            product.in_stock = rng.random() < 0.6
            product.released = rng.choice([None, datetime.date(2024, rng.randint(1, 12), rng.randint(1, 28))])
            product.save()
            product.tags.set(rng.sample(tags, rng.randint(0, 3)))
    index(document)


COLUMNS = {
    "category": "category__slug",
    "tag": "tags__name",
    "price": "price",
    "in_stock": "in_stock",
    "released": "released",
}
VALUES: dict[str, Callable[[random.Random], Any]] = {
    "category": lambda rng: rng.choice(["kitchen", "bath", "naïve café", "nowhere"]),
    "tag": lambda rng: rng.choice(["new", "sale", "gift", "none"]),
    "price": lambda rng: Decimal(rng.randint(0, 400)) / 20,
    "in_stock": lambda rng: rng.random() < 0.5,
    "released": lambda rng: datetime.date(2024, rng.randint(1, 12), rng.randint(1, 28)),
}


def random_filters(document: BoundDocument, rng: random.Random) -> dict[str, Any]:
    names = rng.sample(sorted(searching.lookups(document)), rng.randint(1, 3))
    filters = {}
    for name in names:
        field, lookup = searching.lookups(document)[name]
        key = next(key for key, known in document.declaration.filter_fields.items() if known is field)
        if lookup == "isnull":
            filters[name] = rng.random() < 0.5
        elif lookup == "in":
            filters[name] = [VALUES[key](rng) for _ in range(rng.randint(0, 4))]
        else:
            filters[name] = VALUES[key](rng)
    return filters


def brute_force(filters: dict[str, Any]) -> set[int]:
    """Return what the database says."""
    rows = Product.objects.all()
    for name, value in filters.items():
        key, *lookup = name.split("__")
        if key == "tag" and lookup == ["isnull"]:
            rows = rows.filter(tags=None) if value else rows.exclude(tags=None)
            continue
        rows = rows.filter(**{"__".join([COLUMNS[key], *lookup]): value})
    return set(rows.values_list("pk", flat=True))


def test_five_hundred_random_filters_equal_the_database(any_store, document):
    random_shop(document)
    rng = random.Random(2)
    found_something = 0
    with get_store().session(Collection.objects.get().name):
        for _ in range(500):
            filters = random_filters(document, rng)
            expected = brute_force(filters)
            results = type(document.declaration).search("red mug", filters=filters)
            assert {int(hit.product_id) for hit in results[:60].hits()} == expected, filters
            assert results.count() == len(expected), filters
            found_something += bool(expected)
    assert found_something > 150


def test_facets_count_under_the_filters(any_store, document):
    random_shop(document)
    for filters in ({}, {"in_stock": True}, {"price__lt": 10, "tag": "sale"}):
        results = type(document.declaration).search("red mug", filters=filters)
        rows = Product.objects.filter(pk__in=brute_force(filters))
        for key, column in (("category", "category__slug"), ("tag", "tags__name")):
            names = [name for name in rows.values_list(column, flat=True) if name]
            assert results.facet(key) == {name: names.count(name) for name in names}
    assert len(type(document.declaration).search("mug").facet("category", limit=2)) == 2


def test_facets_count_what_is_found(any_store, document):
    products = make(f"{colour} mug" for colour in COLOURS)
    with_pictures(products[:2], COLOURS)
    Product.objects.update(category=Category.objects.create(name="Kitchen", slug="kitchen"))
    index(document)
    results = {
        "words": type(document.declaration).search("a mug"),
        "pictures": type(document.declaration).search("a mug", weights={"text": 0}),
        "photo": type(document.declaration).search_by_image(picture_bytes("blue")),
        "nothing": type(document.declaration).search(""),
        "similar": type(document.declaration).similar_to(products[0]),
        "similar to one without a picture": type(document.declaration).similar_to(products[5]),
        "unknown": type(document.declaration).similar_to("unknown"),
    }
    counted = {by: found.facet("category").get("kitchen", 0) for by, found in results.items()}
    assert counted == {by: found.count() for by, found in results.items()}
    assert list(counted.values()) == [6, 2, 2, 6, 5, 5, 0]


def test_an_empty_value_is_no_facet(any_store, document, monkeypatch):
    with pause_indexing():
        for product, slug in zip(make(["mug"] * 6), ["", "", "", "a", "a", "b"], strict=True):
            product.category = Category.objects.create(name="c", slug=slug)
            product.save()
    index(document)
    assert type(document.declaration).search("a mug").facet("category") == {"a": 2, "b": 1}
    assert type(document.declaration).search("a mug").facet("category", limit=1) == {"a": 2}


@pytest.mark.parametrize("command", ["clip_reindex", "clip_verify"])
def test_a_filter_that_is_declared_later_gets_its_index(any_store, document, monkeypatch, command):
    make(["red mug", "blue mug"], description="acme")
    index(document)
    brand = {**document.declaration.filter_fields, "brand": Keyword("description")}
    monkeypatch.setattr(type(document.declaration), "filter_fields", brand)
    if any_store == "embedded":  # qdrant-client's own engine counts without an index
        with pytest.raises(SearchUnavailable, match="clip_reindex"):
            type(document.declaration).search("mug").facet("brand")
    made = []
    create = get_store().create
    monkeypatch.setattr(get_store(), "create", lambda name, s: made.append(s.filters) or create(name, s))
    call_command(command, "product", stdout=io.StringIO())
    assert [filters["brand"] for filters in made] == ["keyword"]
    assert type(document.declaration).search("mug").facet("brand") == {"acme": 2}
    assert type(document.declaration).search("mug", filters={"brand": "acme"}).count() == 2


@pytest.mark.parametrize("key", ["price", "colour"])
def test_facet_of_what_is_no_keyword_lists_what_is(document, key):
    with pytest.raises(UnknownFilter, match="There are: category, tag"):
        type(document.declaration).search("mug").facet(key)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"colour": "red"}, "no filter 'colour'. There are: category, in_stock, price, released, tag"),
        ({"colour__in": ["red"]}, "no filter 'colour'"),
        ({"__lte": 1}, "no filter '__lte'"),
        ({"category__gt": "a"}, "no lookup 'gt'. There are: exact, in, isnull"),
        ({"price__lte__gt": 1}, "no filter 'price__lte'"),
        ({"in_stock__in": [True]}, "no lookup 'in'"),
        ({"price": "dear"}, "'price' cannot be filtered by 'dear'"),
        ({"price": float("nan")}, "finite"),
        ({"price": 10**400}, "finite"),
        ({"price": Decimal("sNaN")}, "price"),
        ({"price": None}, "isnull"),
        ({"price": True}, "not a number"),
        ({"price": [1]}, "use the lookup in"),
        ({"price__in": 5}, "a list of values"),
        ({"category__in": "kitchen"}, "a list of values"),
        ({"category__in": [None]}, "isnull"),
        ({"category": Category(slug="a")}, "'category.slug'"),
        ({"category": "\ud800"}, "category"),
        ({"in_stock": "perhaps"}, "not true or false"),
        ({"tag__isnull": "perhaps"}, "not true or false"),
        ({"released": "soon"}, "released"),
        ({"released__lt": 5}, "not a date"),
        ({"released": "9999-12-31T23:59:59-23:59"}, "no date in UTC"),
        ({"released__gte": "0001-01-01T00:00:00+23:59"}, "no date in UTC"),
        ({"released__gte": "10000-01-01"}, "released"),
    ],
)
def test_filters_that_cannot_be_are_refused_at_once(document, filters, message):
    for search in (
        lambda: type(document.declaration).search("mug", filters=filters),
        lambda: type(document.declaration).search_by_image(picture_bytes(), filters=filters),
        lambda: type(document.declaration).similar_to("1", filters=filters),
    ):
        with pytest.raises(UnknownFilter, match=message):
            search()


@pytest.mark.parametrize(
    "value",
    ["0001-01-01", "9999-12-31", datetime.datetime.max, datetime.datetime.min, "2024-05-01T10:00+02:00"],
)
def test_dates_at_the_ends_of_time_are_dates(any_store, few, document, value):
    for lookup in ("", "__lt", "__gte"):
        assert type(document.declaration).search("mug", filters={f"released{lookup}": value}).count() == 0


def test_a_declared_name_may_hold_two_underscores(document, monkeypatch):
    monkeypatch.setattr(
        type(document.declaration), "filter_fields", {"size__cm": document.declaration.filter_fields["price"]}
    )
    exact, less = searching.parse_filters(document, {"size__cm": 1, "size__cm__lt": 2})
    assert (exact.key, exact.operator, less.key, less.operator) == ("size__cm", "eq", "size__cm", "lt")


# Narrowing results further


@pytest.fixture
def labelled(any_store, document) -> dict[str, Product]:
    """Six products on each store, told apart by category, tags, price and date; by their names."""
    kitchen, bath = (Category.objects.create(name=slug, slug=slug) for slug in ("kitchen", "bath"))
    new, sale = (Tag.objects.create(name=name) for name in ("new", "sale"))
    first, last = datetime.date(2024, 1, 1), datetime.date(2024, 12, 31)
    rows: dict[str, tuple[Category | None, list[Tag], int, datetime.date | None]] = {
        "red mug": (kitchen, [new, sale], 10, first),
        "red cup": (kitchen, [sale], 20, last),
        "red towel": (bath, [new], 10, None),
        "red lamp": (None, [], 10, first),
        "red vase": (None, [sale], 30, None),
        "red bowl": (kitchen, [], 30, last),
    }
    products = dict(zip(rows, make(rows), strict=True))
    with pause_indexing():
        for name, (category, tags, price, released) in rows.items():
            product = products[name]
            product.category, product.price, product.released = category, price, released
            product.save()
            product.tags.set(tags)
    with_pictures(list(products.values()), ["red"] * len(products))
    index(document)
    return products


NARROWED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"red mug", "red cup", "red towel", "red lamp", "red vase", "red bowl"}),
    ({"category": "kitchen"}, {"red mug", "red cup", "red bowl"}),
    ({"category__in": ["kitchen", "bath"]}, {"red mug", "red cup", "red towel", "red bowl"}),
    ({"category__in": []}, set()),
    ({"category__isnull": True}, {"red lamp", "red vase"}),
    ({"category__isnull": False}, {"red mug", "red cup", "red towel", "red bowl"}),
    ({"price": 10}, {"red mug", "red towel", "red lamp"}),
    ({"price__in": [20, Decimal(30)]}, {"red cup", "red vase", "red bowl"}),
    ({"released__gt": datetime.date(2024, 6, 1)}, {"red cup", "red bowl"}),
    ({"in_stock": False}, set()),
    ({"tag": "sale"}, {"red mug", "red cup", "red vase"}),
    ({"tag__in": ["new", "none"]}, {"red mug", "red towel"}),
    ({"tag__isnull": True}, {"red lamp", "red bowl"}),
    ({"tag": "sale", "price__lt": 30}, {"red mug", "red cup"}),
    ({"tag": "sale", "category__isnull": True}, {"red vase"}),
    ({"tag__isnull": False, "category__isnull": False}, {"red mug", "red cup", "red towel"}),
    ({"price__gte": 10, "price__lt": 30, "in_stock": True}, {"red mug", "red cup", "red towel", "red lamp"}),
    ({"price": 10, "category": "kitchen", "tag": "new", "released__isnull": True}, set()),
]
"""Lookups, and the products of `labelled` that meet all of them."""


def names(results: Iterable[Product]) -> set[str]:
    return {product.name for product in results}


def test_filter_keeps_what_meets_all_lookups_and_exclude_the_rest(labelled, document):
    declared = type(document.declaration)
    for results in (
        declared.search("a red mug"),
        declared.search(""),
        declared.search_by_image(picture_bytes("red")),
    ):
        with results.session():
            for lookups, met in NARROWED:
                kept, left = results.filter(**lookups), results.exclude(**lookups)
                # as in Django, nothing is excluded by no lookups
                rest = labelled.keys() - met if lookups else labelled.keys()
                assert (names(kept), kept.count()) == (met, len(met)), lookups
                assert (names(left), left.count()) == (rest, len(rest)), lookups
                assert (names(results), results.count()) == (labelled.keys(), 6), lookups


def test_a_hundred_random_lookups_equal_the_database(any_store, document):
    random_shop(document)
    rng = random.Random(3)
    everything = set(keys(Product.objects.all()))
    results = type(document.declaration).search("a red mug")
    excluded_some = 0
    with get_store().session(Collection.objects.get().name):
        for _ in range(100):
            lookups, others = random_filters(document, rng), random_filters(document, rng)
            met, met_too = brute_force(lookups), brute_force(others)
            for narrowed, expected in (
                (results.filter(**lookups), met),
                (results.exclude(**lookups), everything - met),
                (results.filter(**others).exclude(**lookups), met_too - met),
            ):
                assert {int(hit.product_id) for hit in narrowed.hits()} == expected, (lookups, others)
            excluded_some += 0 < len(met) < len(everything)
    assert excluded_some > 30


def test_results_are_narrowed_step_by_step(labelled, document):
    search = type(document.declaration).search
    results = search("a red mug", filters={"price__lt": 30}).filter(tag="sale").exclude(category="bath")
    assert names(results) == {"red mug", "red cup"}
    assert names(results.filter(tag="new")) == {"red mug"}
    assert names(results.exclude(tag="new")) == {"red cup"}
    # each exclude() stands for itself: what meets either lookup is left out
    either = search("a red mug").exclude(price=10).exclude(category="kitchen")
    assert names(either) == {"red vase"}
    assert names(search("a red mug").exclude(price=10, category="kitchen")) == labelled.keys() - {"red mug"}


def test_what_is_narrowed_is_ranked_counted_and_paged_like_a_search_with_filters(labelled, document):
    search = type(document.declaration).search
    narrowed = search("red mug").filter(price__gte=20)
    filtered = search("red mug", filters={"price__gte": 20})
    assert narrowed.hits() == filtered.hits()
    assert [hit for n in range(3) for hit in narrowed[n : n + 1].hits()] == filtered.hits()
    assert narrowed.facet("category") == filtered.facet("category") == {"kitchen": 2}
    left = search("red mug").exclude(price__gte=20, tag="sale")
    assert left.facet("category") == {"kitchen": 2, "bath": 1}
    assert left.first() == labelled["red mug"]  # an exact name is still first
    assert search("red mug").exclude(price=10).first() != labelled["red mug"]


def test_similar_ones_are_narrowed_and_never_the_product_itself(labelled, document):
    similar = type(document.declaration).similar_to(labelled["red mug"])
    assert names(similar.filter(tag="sale")) == {"red cup", "red vase"}
    assert names(similar.exclude(tag="sale")) == {"red towel", "red lamp", "red bowl"}
    assert similar.exclude(tag="sale", category__isnull=True).count() == 4


@pytest.mark.parametrize(
    ("lookups", "message"),
    [
        ({"colour": "red"}, "no filter 'colour'. There are: category, in_stock, price, released, tag"),
        ({"price": "dear"}, "'price' cannot be filtered by 'dear'"),
        ({"in_stock": True, "category__gt": "a"}, "no lookup 'gt'"),
    ],
)
def test_lookups_that_cannot_be_are_refused_at_once(document, lookups, message):
    results = type(document.declaration).search("mug")
    for narrow in (results.filter, results.exclude):
        with pytest.raises(UnknownFilter, match=message):
            narrow(**lookups)


@pytest.mark.parametrize("window", [slice(0, 5), slice(5, None), slice(5, 10), slice(0, 0)])
def test_what_is_sliced_cannot_be_narrowed(document, window):
    page = type(document.declaration).search("mug")[window]
    for narrow in (page.filter, page.exclude):
        with pytest.raises(TypeError, match="once a slice has been taken"):
            narrow(price__gte=0)


def test_a_slice_of_everything_can_be_narrowed(labelled, document):
    assert names(type(document.declaration).search("a red mug")[:].filter(price=20)) == {"red cup"}


def test_nothing_is_asked_before_what_is_narrowed_is_used(document, asked, django_assert_num_queries):
    with django_assert_num_queries(0):
        results = type(document.declaration).search("mug").filter(price=1).exclude(tag="new", in_stock=True)
        assert "product" in repr(results[5:10])
    assert asked == []


# The first one, and whether there is any


def test_first_and_exists(shop, document, asked):
    results = type(document.declaration).search("red mug")
    assert (results.first(), results.exists()) == (shop[0], True)
    assert max(query.limit for query in asked) == 1  # no more than the first rank is read
    everything = list(results)
    assert results[3:10].first() == everything[3]
    assert (results[3:10].exists(), results[60:].exists(), results[60:].first()) == (True, False, None)
    none = type(document.declaration).search("red mug", filters={"price__gt": 1000})
    assert (none.first(), none.exists()) == (None, False)
    unknown = type(document.declaration).similar_to("unknown")
    assert (unknown.first(), unknown.exists()) == (None, False)


def test_the_first_is_one_whose_row_is_there(shop, document):
    ranked = list(type(document.declaration).search("a red mug"))
    unpublish(ranked[:3])
    first = type(document.declaration).search("a red mug").first()
    assert first == ranked[3]
    assert first.search_score == ranked[3].search_score


# From asynchronous code


def test_asynchronous_code_gets_the_same(shop, document):
    results = type(document.declaration).search("a red mug")[:24]

    async def gather() -> dict[str, Any]:
        return {
            "rows": await in_a_list(results),
            "count": await results.acount(),
            "exists": await results.aexists(),
            "first": await results.afirst(),
            "hits": await results.ahits(),
            "hits with rows": await results.ahits(with_rows=True),
        }

    same = type(document.declaration).search("a red mug")[:24]
    assert async_to_sync(gather)() == {
        "rows": list(same),
        "count": 24,
        "exists": True,
        "first": same[0],
        "hits": same.hits(),
        "hits with rows": same.hits(with_rows=True),
    }


def test_asynchronous_code_finds_nothing(shop, document):
    results = type(document.declaration).search("mug").filter(price__gt=1000)

    async def gather() -> list[Any]:
        found = await in_a_list(results), await results.acount(), await results.aexists()
        return [*found, await results.afirst(), await results.ahits()]

    assert async_to_sync(gather)() == [[], 0, False, None, []]


@pytest.mark.django_db(transaction=True)
def test_asynchronous_code_never_waits_in_the_event_loop(shop, document):
    """Django refuses a statement in a thread whose event loop is running."""
    results = type(document.declaration).search("a red mug").filter(in_stock=True)

    async def gather() -> list[Any]:
        try:
            found = await results.acount(), await results.aexists(), await results.afirst()
            return [*found, await results[:5].ahits(with_rows=True), await in_a_list(results[:5])]
        finally:
            await sync_to_async(connections.close_all)()

    same = list(type(document.declaration).search("a red mug")[:5])
    count, exists, first, hits, rows = asyncio.run(gather())
    assert (count, exists, first, rows) == (60, True, same[0], same)
    assert [hit.instance for hit in hits] == same


# What is told of a search


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    """Return what the signal of searches tells from now on."""
    calls: list[dict[str, Any]] = []

    def note(**arguments: Any) -> None:
        calls.append(arguments)

    search_performed.connect(note)
    yield calls
    search_performed.disconnect(note)


def test_each_page_that_is_read_is_told_once(shop, document, told):
    page = type(document.declaration).search("a  red mug", filters={"price__gte": 0})[24:36]
    assert told == []
    assert (len(list(page)), len(page.hits()), len(page)) == (12, 12, 12)
    (call,) = told
    assert (call["sender"], call["document"]) == (ProductDocument, "product")
    assert (call["start"], call["hits"]) == (24, 12)
    assert isinstance(call["query"], TextQuery)
    assert call["query"].words == "a red mug"
    assert [condition.key for condition in call["query"].conditions] == ["price"]
    assert 0 <= call["seconds"] < 60
    assert list(type(document.declaration).search("mug")[60:72]) == []
    assert (told[-1]["start"], told[-1]["hits"]) == (60, 0)


def test_photos_and_similar_products_are_told_as_what_they_are(shop, document, told):
    type(document.declaration).search_by_image(picture_bytes("red"), min_score=0.5).hits()
    type(document.declaration).similar_to(shop[0])[:5].hits()
    photo, product = (call["query"] for call in told)
    assert (type(photo), photo.min_score, type(product)) == (ImageQuery, 0.5, MoreLikeThis)
    assert product.product == document.point_id(str(shop[0].pk))
    assert picture_bytes("red") not in repr(photo).encode()  # a log of queries holds no pictures


def test_counts_and_facets_are_no_pages(shop, document, told):
    results = type(document.declaration).search("a red mug")
    assert (results.count(), results.facet("category")) == (60, {})
    assert told == []


def test_a_search_that_fails_is_not_told(few, document, told, monkeypatch):
    monkeypatch.setattr(get_store(), "query", fail_with(StoreUnavailable()))
    with pytest.raises(SearchUnavailable):
        type(document.declaration).search("mug").hits()
    assert told == []


def test_a_receiver_listens_to_one_document_and_harms_no_search(few, document, caplog):
    def fail(**arguments: Any) -> None:
        raise ZeroDivisionError("the receiver failed")

    search_performed.connect(fail, sender=ProductDocument)
    try:
        assert list(type(document.declaration).search("red mug")[:1]) == few[:1]
    finally:
        search_performed.disconnect(fail, sender=ProductDocument)
    assert "the receiver failed" in caplog.text


# Rows that are gone


def unpublish(products: Iterable[Product]) -> None:
    """Change rows behind the back of the index."""
    Product.objects.filter(pk__in=keys(products)).update(is_public=False)


@pytest.fixture
def ranked(shop, document) -> list[Product]:
    """The shop's products in the order of one search."""
    return list(type(document.declaration).search("a red mug"))


def test_what_is_gone_is_dropped_and_the_page_still_full(ranked, document):
    gone, left = ranked[2:9], [*ranked[:2], *ranked[9:]]
    unpublish(gone)
    results = type(document.declaration).search("a red mug")
    assert list(results[:10]) == left[:10]
    assert list(results[10:20]) == left[10:20]
    assert results.count() == 53
    assert [hit.product_id for hit in results[:10].hits()] == [str(product.pk) for product in left[:10]]


def test_hits_do_not_look_at_the_rows(ranked, document, django_assert_num_queries):
    unpublish(ranked[:5])
    with django_assert_num_queries(1):
        hits = type(document.declaration).search("a red mug")[:10].hits()
    assert [int(hit.product_id) for hit in hits] == keys(ranked[:10])
    assert not IndexEntry.objects.filter(state="pending").exists()
    shown = type(document.declaration).search("a red mug")[:10].hits(with_rows=True)
    assert [hit.instance for hit in shown] == ranked[5:15]


def test_most_of_the_list_is_gone(ranked, document):
    unpublish(ranked[:58])
    assert list(type(document.declaration).search("a red mug")[:10]) == ranked[58:]
    unpublish(ranked)
    assert list(type(document.declaration).search("a red mug")[:10]) == []


def test_a_page_stays_full_when_more_than_a_spare_is_gone(document):
    products = make(f"red mug {n}" for n in range(300))
    index(document)
    order = keys(type(document.declaration).search("the red mug"))
    Product.objects.filter(pk__in=order[:250]).update(is_public=False)
    assert keys(type(document.declaration).search("the red mug")[:10]) == order[250:260]
    assert len(products) == 300


def test_a_row_is_found_that_its_own_validators_would_refuse(document, monkeypatch):
    monkeypatch.setattr(Product._meta.get_field("sku"), "validators", [validate_slug])
    monkeypatch.setattr(type(document.declaration), "id_field", "sku")
    forget_declarations()
    products = Product.objects.bulk_create(
        [Product(name="red mug", sku="A B/1"), Product(name="mug", sku="B")]
    )
    index(document)
    assert list(type(document.declaration).search("the red mug")) == products
    assert type(document.declaration).search("the red mug")[:1].hits()[0].product_id == "A B/1"


def test_a_row_whose_own_method_raises_breaks_no_page(few, document, monkeypatch, client):
    monkeypatch.setattr(
        type(document.declaration), "should_index", lambda self, obj: 1 / (obj.pk - few[0].pk)
    )
    assert set(type(document.declaration).search("a mug")) == set(few)
    assert client.get("/api/v1/search?q=a+mug").json()["count"] == 6


def test_what_is_gone_is_marked_once_and_then_removed(ranked, document):
    unpublish(ranked[:3])
    before = dict(IndexEntry.objects.values_list("product_id", "revision"))
    list(type(document.declaration).search("a red mug")[:5])
    marked = IndexEntry.objects.filter(state=IndexEntry.State.PENDING)
    assert {entry.product_id for entry in marked} == {str(product.pk) for product in ranked[:3]}
    list(type(document.declaration).search("a red mug")[:5])
    assert {entry.revision - before[entry.product_id] for entry in marked} == {1}
    index_due(document)
    assert IndexEntry.objects.filter(state=IndexEntry.State.REMOVED).count() == 3
    assert type(document.declaration).search("a red mug").count() == 57


def test_an_entry_that_was_lost_is_made_again(ranked, document):
    unpublish(ranked[:1])
    IndexEntry.objects.all().delete()
    list(type(document.declaration).search("a red mug")[:5])
    assert IndexEntry.objects.get().product_id == str(ranked[0].pk)


def test_what_somebody_posted_meanwhile_is_left_to_them(ranked, document):
    unpublish(ranked[:1])
    IndexEntry.objects.filter(product_id=str(ranked[0].pk)).update(source=POSTED_SOURCE, state="failed")
    list(type(document.declaration).search("a red mug")[:5])
    entry = IndexEntry.objects.get(product_id=str(ranked[0].pk))
    assert (entry.source, entry.state, entry.revision) == (POSTED_SOURCE, "failed", 1)


def test_a_page_is_shown_where_nothing_can_be_marked(ranked, document, monkeypatch, caplog):
    unpublish(ranked[:3])
    monkeypatch.setattr(type(IndexEntry.objects.all()), "mark_changed", fail_with(DatabaseError("read-only")))
    assert list(type(document.declaration).search("a red mug")[:5]) == ranked[3:8]
    assert "read-only" in caplog.text
    assert Product.objects.count() == 60


def test_a_posted_product_without_a_row_is_a_hit_and_no_orphan(shop, document):
    post(document, "test-123", "a shiny red mug", colour="red")
    results = type(document.declaration).search("a shiny red mug")
    first = results[:3].hits(with_rows=True)[0]
    assert (first.product_id, first.source, first.instance) == ("test-123", POSTED_SOURCE, None)
    assert first.payload["metadata"] == {"colour": "red"}
    assert len(list(results[:3])) == 2
    assert results[:1]
    with pytest.raises(IndexError):
        results[0]
    assert IndexEntry.objects.get(product_id="test-123").revision == 1
    pages = [hit for start in range(0, 61, 10) for hit in results[start : start + 10].hits(with_rows=True)]
    assert len({hit.product_id for hit in pages}) == len(pages) == results.count() == 61


def test_a_posted_product_with_a_row_is_an_instance(shop, document):
    post(document, str(shop[5].pk), "a shiny red mug")
    hit = type(document.declaration).search("a shiny red mug")[:1].hits(with_rows=True)[0]
    assert (hit.instance, hit.source) == (shop[5], POSTED_SOURCE)
    unpublish(shop[5:6])
    hit = type(document.declaration).search("a shiny red mug")[:1].hits(with_rows=True)[0]
    assert (hit.instance, hit.source) == (None, POSTED_SOURCE)
    assert IndexEntry.objects.get(product_id=str(shop[5].pk)).state == IndexEntry.State.INDEXED


# Photos


@pytest.mark.parametrize(
    "kind", ["bytes", "file", "read file", "upload", "field", "Pillow", "transparent", "bytearray"]
)
def test_a_photo_comes_in_any_form(shop, document, tmp_path, kind):
    data = picture_bytes("yellow")
    (tmp_path / "photo.png").write_bytes(data)
    image = ProductImage.objects.get(product=shop[3]).original
    image.close()
    with (tmp_path / "photo.png").open("rb") as file:
        photo: Any = {
            "bytes": data,
            "bytearray": bytearray(data),
            "file": file,
            "read file": file,
            "upload": SimpleUploadedFile("photo.png", data),
            "field": image,
            "Pillow": Image.open(io.BytesIO(data)),
            "transparent": Image.open(io.BytesIO(data)).convert("RGBA"),
        }[kind]
        if kind == "read file":
            file.read()
        found = list(type(document.declaration).search_by_image(photo)[:5])
    assert {product.name.split()[0] for product in found} == {"yellow"}
    assert image.closed


def test_a_pillow_image_keeps_which_way_is_up(document):
    from clip_search.searching.queries import image_bytes

    image = Image.new("CMYK", (3000, 1500))
    exif = image.getexif()
    exif[274] = 6
    with Image.open(io.BytesIO(image_bytes(image))) as written:
        assert (written.size, written.getexif()[274]) == ((1024, 512), 6)


@pytest.mark.parametrize("data", [b"", b"no picture", picture_bytes(fmt="BMP"), picture_bytes(size=1)])
def test_what_is_no_picture_is_refused_at_once(document, data):
    for photo in (data, io.BytesIO(data), SimpleUploadedFile("a.png", data)):
        with pytest.raises(BadImage):
            type(document.declaration).search_by_image(photo)


def test_a_damaged_picture_is_refused_when_it_is_decoded(shop, document):
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 100).save(buffer, "JPEG")
    half = buffer.getvalue()[: buffer.tell() // 2]
    with pytest.raises(BadImage, match="truncated"):
        type(document.declaration).search_by_image(half).count()
    with pytest.raises(BadImage, match="truncated"):
        type(document.declaration).search_by_image(Image.open(io.BytesIO(half)))


@pytest.mark.parametrize("photo", ["/etc/passwd", Path("/etc/passwd"), None, 5])
def test_a_path_is_no_photo(document, photo):
    with pytest.raises(TypeError, match="is no image"):
        type(document.declaration).search_by_image(photo)


def test_only_what_has_a_picture_is_counted_for_a_photo(any_store, document):
    products = make(f"{colour} mug" for colour in COLOURS * 2)
    with_pictures(products[:7], COLOURS * 2)
    index(document)
    results = type(document.declaration).search_by_image(picture_bytes("red"))
    assert (results.count(), len(list(results)), results[5:].count()) == (7, 7, 2)


def test_min_score_cuts_and_is_counted(shop, document):
    everything = type(document.declaration).search_by_image(picture_bytes("red"))
    scores = [hit.score for hit in everything.hits()]
    reds = type(document.declaration).search_by_image(picture_bytes("red"), min_score=0.5)
    assert reds.count() == len(list(reds)) == sum(score >= 0.5 for score in scores) == 5
    for score in (float("nan"), 50, -1.1, "high", []):
        with pytest.raises(ValueError, match="min_score"):
            type(document.declaration).search_by_image(picture_bytes("red"), min_score=score)
        with pytest.raises(ValueError, match="min_score"):
            type(document.declaration).similar_to(shop[0], min_score=score)


# More like this


def test_similar_ones_by_picture_and_words_and_never_itself(any_store, document, monkeypatch, configured):
    products = make(f"{colour} {thing}" for thing in THINGS[:3] for colour in COLOURS)
    with_pictures(products, COLOURS * 3)
    index(document)
    failure = fail_with(AssertionError("the model was asked"))
    monkeypatch.setattr("clip_search.searching.engine.get_encoder", failure)
    red_mug = products[0]
    results = type(document.declaration).similar_to(red_mug)
    assert all("red" in product.name or "mug" in product.name for product in results[:2])
    assert red_mug not in list(results)
    assert results.count() == len(list(results)) == 17
    assert keys(type(document.declaration).similar_to(str(red_mug.pk))) == keys(
        type(document.declaration).similar_to(red_mug.pk)
    )
    filtered = type(document.declaration).similar_to(red_mug, filters={"price__gt": 0})
    assert (filtered.count(), list(filtered)) == (0, [])


def test_similar_ones_need_no_model(shop, document, configured):
    configured(ENCODER="clip_search.encoders.clip.ClipEncoder", MODEL="/nowhere")
    assert list(type(document.declaration).similar_to(shop[0])[:5])
    assert list(type(document.declaration).search("")[:5])
    with pytest.raises(SearchUnavailable):
        list(type(document.declaration).search("mug"))


def test_min_score_of_similar_ones(shop, document):
    everything = type(document.declaration).similar_to(shop[0])
    near = type(document.declaration).similar_to(shop[0], min_score=0.9)
    assert 0 < near.count() == len(list(near)) < everything.count()


@pytest.mark.parametrize(
    "product", ["unknown", "", 10**30, Product(name="unsaved"), Product(pk=99, name="new")]
)
def test_what_is_not_in_the_index_is_like_nothing(shop, document, product):
    results = type(document.declaration).similar_to(product)
    assert (list(results), results.count(), results.hits(), bool(results)) == ([], 0, [], False)


def test_similar_to_a_product_of_one_kind_of_vector(shop, document):
    without_picture = shop[40]
    assert list(type(document.declaration).similar_to(without_picture)[:3])


def test_another_model_is_refused(document):
    with pytest.raises(TypeError, match="holds Product, not Category"):
        type(document.declaration).similar_to(Category(pk=1))


def test_a_subclass_counts_as_the_product_that_it_is(shop, document):
    book = Book(product_ptr=shop[0], pk=shop[0].pk)
    assert keys(type(document.declaration).similar_to(book)[:5]) == keys(
        type(document.declaration).similar_to(shop[0])[:5]
    )


def test_a_variant_is_like_its_parent(shop, document, monkeypatch):
    expected = keys(type(document.declaration).similar_to(shop[0])[:5])
    monkeypatch.setattr(
        type(document.declaration), "index_as", lambda self, obj: shop[0] if obj == shop[7] else None
    )
    forget_declarations()
    assert [hit.product_id for hit in type(document.declaration).similar_to(shop[7])[:5].hits()] == list(
        map(str, expected)
    )
    assert type(document.declaration).similar_to(shop[8]).hits() == []


# The query vector is kept


@pytest.fixture
def counting(configured) -> Callable[[], list[str]]:
    """Return a function that tells which texts were embedded since it was last called."""
    configured(ENCODER="tests.doubles.encoders.CountingEncoder")

    def texts() -> list[str]:
        counted = get_encoder()
        found, counted.texts = counted.texts, []
        return found

    return texts


def test_the_same_words_are_embedded_once(counting, shop, document):
    counting()
    for text in ("a  red mug", " a red mug\n", "a red mug"):
        type(document.declaration).search(text)[:5].hits()
    assert counting() == ["a photo of a red mug"]
    type(document.declaration).search("A red mug")[:5].hits()
    assert counting() == ["a photo of A red mug"]


def test_the_prompt_is_around_what_is_asked_whatever_it_is(counting, few, document, monkeypatch):
    counting()
    assert keys(type(document.declaration).search("RED  mug")[:1]) == [few[0].pk]
    assert counting() == ["a photo of RED mug"]
    monkeypatch.setattr(type(document.declaration), "query_prompt", "{query}, sold here")
    type(document.declaration).search("{query} {0} mug")[:1].hits()
    assert counting() == ["{query} {0} mug, sold here"]


def test_another_model_has_its_own_vectors(counting, shop, document, monkeypatch):
    type(document.declaration).search("a red mug").hits()
    counting()
    monkeypatch.setattr(type(get_encoder()), "fingerprint", "another")
    Collection.objects.update(fingerprint="another")
    type(document.declaration).search("a red mug").hits()
    assert counting() == ["a photo of a red mug"]


@pytest.mark.parametrize("value", [b"", b"\x00" * 12, "text", None])
def test_what_the_cache_cannot_have_had_is_not_believed(counting, shop, document, monkeypatch, value):
    expected = keys(type(document.declaration).search("a red mug"))
    monkeypatch.setattr(cache, "get", lambda key: value)
    assert keys(type(document.declaration).search("a red mug")) == expected


def test_a_broken_cache_breaks_no_search(shop, document, monkeypatch, caplog):
    expected = keys(type(document.declaration).search("a red mug"))
    monkeypatch.setattr(cache, "get", fail_with(OSError("no route to the cache")))
    monkeypatch.setattr(cache, "set", fail_with(RuntimeError("no room in the cache")))
    assert keys(type(document.declaration).search("a red mug")) == expected
    assert "no route" in caplog.text
    assert "no room" in caplog.text


def test_warm_up_loads_what_texts_need(configured, monkeypatch):
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr("clip_search.testing.HashingEncoder.warm_up", lambda self, **o: asked.append(o))
    assert warm_up()
    assert asked == [{"images": False}]


def test_a_shop_comes_up_without_its_model(configured, caplog):
    configured(ENCODER="tests.doubles.encoders.MissingEncoder")
    assert not warm_up()
    assert "model" in caplog.text
    configured(ENCODER="tests.nowhere.Encoder")
    assert not warm_up()


def test_a_shop_comes_up_without_memory_for_its_model(monkeypatch, caplog):
    monkeypatch.setattr("clip_search.testing.HashingEncoder.warm_up", fail_with(RuntimeError("CUDA out of")))
    assert not warm_up()
    assert "CUDA out of" in caplog.text


# When it cannot answer

USES: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "page": lambda results: list(results[:5]),
    "first": lambda results: results[0],
    "bool": bool,
    "len": len,
    "count": lambda results: results.count(),
    "hits": lambda results: results.hits(),
    "facet": lambda results: results.facet("category"),
    "session": lambda results: results.session().__enter__(),
    "exists": lambda results: results.exists(),
    "first row": lambda results: results.first(),
    "narrowed": lambda results: results.filter(price__gte=0).exclude(category="bath").hits(),
    "async for": async_to_sync(in_a_list),
    "acount": lambda results: async_to_sync(results.acount)(),
    "aexists": lambda results: async_to_sync(results.aexists)(),
    "afirst": lambda results: async_to_sync(results.afirst)(),
    "ahits": lambda results: async_to_sync(results.ahits)(),
    "Paginator": lambda results: Paginator(results, 5).page(1),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "error", [StoreUnavailable("Start Qdrant."), SetupError("Fix it."), CollectionMissing("Reindex.")]
)
def test_no_use_of_results_is_empty_when_the_store_fails(few, document, monkeypatch, use, error):
    for method in ("query", "count", "facet", "session", "get"):
        monkeypatch.setattr(get_store(), method, fail_with(error))
    for results in (
        type(document.declaration).search("mug"),
        type(document.declaration).search(""),
        type(document.declaration).search_by_image(picture_bytes()),
        type(document.declaration).similar_to(few[0]),
    ):
        assert repr(results)
        with pytest.raises(SearchUnavailable, match=str(error)):
            USES[use](results)


@pytest.mark.parametrize("use", sorted(USES.keys() - {"facet"}))
def test_no_use_of_results_is_empty_when_the_model_fails(few, document, monkeypatch, use):
    for method in ("embed_texts", "embed_images"):
        monkeypatch.setattr(f"clip_search.testing.HashingEncoder.{method}", fail_with(ModelUnavailable()))
    for results in (
        type(document.declaration).search("mug"),
        type(document.declaration).search_by_image(picture_bytes()),
    ):
        with pytest.raises(SearchUnavailable, match='CLIP_SEARCH\\["MODEL"\\]'):
            USES[use](results)


def test_a_model_that_fails_is_unavailable(few, document, monkeypatch, client):
    failure = fail_with(RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB."))
    for method in ("embed_texts", "embed_images"):
        monkeypatch.setattr(f"clip_search.testing.HashingEncoder.{method}", failure)
    for results in (
        type(document.declaration).search("a mug"),
        type(document.declaration).search_by_image(picture_bytes()),
    ):
        with pytest.raises(SearchUnavailable, match="CUDA out of memory"):
            results.count()
    assert client.get("/api/v1/search?q=a+mug").status_code == 503


@pytest.mark.parametrize("text", [None, 5, b"mug", ["mug"]])
def test_what_is_no_text_is_refused(document, text):
    with pytest.raises(TypeError, match="Search for text"):
        type(document.declaration).search(text)
    with pytest.raises(TypeError, match="not None"):
        type(document.declaration).similar_to(None)


def test_text_may_be_lazy(few, document):
    assert list(type(document.declaration).search(gettext_lazy("red mug"))[:1]) == few[:1]


@pytest.mark.parametrize("use", USES)
def test_no_use_of_results_is_empty_before_anything_is_indexed(document, use):
    with pytest.raises(SearchUnavailable, match="clip_reindex product"):
        USES[use](type(document.declaration).search("mug"))


def test_a_collection_that_another_model_built_is_not_searched(shop, document, configured):
    configured(ENCODER="tests.doubles.encoders.OtherEncoder")
    for results in (
        type(document.declaration).search("mug"),
        type(document.declaration).search_by_image(picture_bytes()),
    ):
        with pytest.raises(SearchUnavailable, match="clip_rebuild"):
            results.count()


def test_a_collection_of_another_dimension_is_not_searched(any_store, document, monkeypatch):
    make(["red mug"])
    index(document)
    embed = type(get_encoder()).embed_texts
    monkeypatch.setattr(type(get_encoder()), "embed_texts", lambda self, t: embed(self, t)[:, :100])
    with pytest.raises(SearchUnavailable, match=r"dimensions|clip_rebuild|manage.py check"):
        type(document.declaration).search("a mug").hits()


@pytest.mark.parametrize(
    "settings_of", [{"ENCODER": "tests.nowhere.Encoder"}, {"QDRANT": {"backend": "tests.nowhere.Store"}}]
)
def test_a_class_that_cannot_be_imported_is_said(few, document, configured, settings_of):
    configured(**settings_of)
    with pytest.raises(SearchUnavailable, match=r"manage\.py check"):
        type(document.declaration).search("mug").hits()


def test_settings_without_a_store_are_said(shop, document, configured):
    configured(QDRANT=None)
    with pytest.raises(SearchUnavailable, match="QDRANT"):
        type(document.declaration).search("mug").count()


def test_a_swap_in_between_is_not_noticed(shop, document):
    results = type(document.declaration).search("a red mug")
    before = keys(results[:5])
    for _report in rebuilding.rebuild(document):
        pass
    assert keys(results[:5]) == before
    assert results.count() == 60


def test_a_swap_while_the_model_is_asked_is_not_noticed(configured, tmp_path, document, monkeypatch):
    pytest.importorskip("qdrant_edge")
    configured(QDRANT={"path": str(tmp_path / "qdrant")})
    products = make(f"{colour} mug" for colour in COLOURS)
    index(document)
    embed, before = type(get_encoder()).embed_texts, Collection.objects.get()

    def swapping(self, texts):
        if "a photo of a red mug" in texts and Collection.objects.filter(pk=before.pk, state="live"):
            for _report in rebuilding.rebuild(document):
                pass
        return embed(self, texts)

    monkeypatch.setattr(type(get_encoder()), "embed_texts", swapping)
    results = type(document.declaration).search("a red mug")
    with results.session():
        assert (results[:1].hits()[0].product_id, results.count()) == (str(products[0].pk), 6)
    assert not get_store().exists(before.name)


def test_a_collection_that_is_lost_is_said(shop, document):
    get_store().destroy(Collection.objects.get().name)
    with pytest.raises(SearchUnavailable, match="clip_reindex"):
        type(document.declaration).search("a red mug").count()


@pytest.mark.django_db(databases=["default", "other"])
def test_a_document_of_another_database_is_searched_there():
    document = registry.get("article")
    with pause_indexing():
        article = Article.objects.using("other").create(title="On mugs")
    IndexEntry.objects.mark_changed(document, [str(article.pk)])
    index_due(document)
    (found,) = type(document.declaration).search("mugs")
    assert (found, found._state.db) == (article, "other")


# Text is text


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server that answers nobody and notes who came: (its address, what came)."""
    came: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    connected, _ = server.accept()
                except TimeoutError:
                    continue
                came.append("somebody")
                connected.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", came
        over.set()
        thread.join()


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The paths that Python code opens from now on."""
    paths: list[str] = []

    def noting(opens: Callable[..., Any]) -> Callable[..., Any]:
        def note(file: Any, *args: Any, **kwargs: Any) -> Any:
            paths.append(os.path.abspath(str(file)))  # noqa: PTH100 -- a link is not what is asked about
            return opens(file, *args, **kwargs)

        return note

    for module in (builtins, io, os):
        monkeypatch.setattr(module, "open", noting(module.open))
    return paths


@pytest.fixture
def bait(listener, opened, tmp_path) -> Iterator[list[str]]:
    """Texts that look like images elsewhere; nothing of them is opened or asked for."""
    address, came = listener
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture_bytes("red"))
    opened.clear()
    yield [
        f"{address}/secret.png",
        str(secret),
        secret.as_uri(),
        f"{address.removeprefix('http:')}/secret.png",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "../secret.png",
    ]
    assert (str(secret) in opened, came) == (False, [])


def look_everywhere(texts: list[str], document: BoundDocument, client: Any) -> None:
    """Search for each text from every entry point."""
    for text in texts:
        assert type(document.declaration).search(text).count()
        assert list(type(document.declaration).search(text)[:3])
        assert type(document.declaration).similar_to(text).hits() == []
        assert client.get("/api/v1/search", {"q": text}).json()["count"]
        assert client.get("/api/v1/search", {"q": "mug", "category": text}).json()["count"] == 0
        assert client.get(f"/api/v1/products/{text}/similar").status_code in (404, 301)
        assert client.post("/api/v1/search", {"image_file": text}).status_code == 400
        assert client.get("/admin/shop/product/", {"q": text}).status_code == 200
        page = "{% load clip_search %}{% clip_search q document='product' as found %}{{ found|length }}"
        assert int(Template(page).render(Context({"q": text})))


def write_everywhere(texts: list[str], document: BoundDocument, client: Any) -> None:
    """Have each text indexed from every entry point, in every field that takes one."""
    for text in texts:
        fields = {"name": text, "description": text, "metadata": {"image": text, "image_file": text}}
        whole = {"product_id": text, **fields}
        answer = client.post("/api/v1/index-product", whole, content_type="application/json")
        assert answer.status_code == 200, answer.content
        form = whole | {"metadata": text, "image_file": SimpleUploadedFile(text, picture_bytes("blue"))}
        assert client.post("/api/v1/index-product-with-image", form | {"product_id": "p"}).status_code == 202
        form = form | {"image_file": text}
        assert client.post("/api/v1/index-product-with-image", form).status_code == 400
        product = Product.objects.create(name=text, description=text, sku=text[:50])
        ProductImage.objects.create(product=product, original=text)  # a name in the storage
        index(document)
        entry = IndexEntry.objects.of(document).get(product_id=str(product.pk))
        assert "missing" in entry.error
        assert not IndexEntry.objects.of(document).filter(state=IndexEntry.State.PENDING).exists()


def test_no_request_leaves_and_no_file_is_read(shop, document, bait, admin_client):
    look_everywhere(bait, document, admin_client)
    write_everywhere(bait, document, admin_client)


@pytest.mark.model
def test_no_request_leaves_and_no_file_is_read_with_a_real_model(document, bait, admin_client, configured):
    pytest.importorskip("sentence_transformers")
    configured(
        ENCODER="clip_search.encoders.clip.ClipEncoder", MODEL=str(ROOT / "example_project" / "demo_model")
    )
    make(["red mug", "blue mug"])
    index(document)
    look_everywhere(bait, document, admin_client)
    write_everywhere(bait, document, admin_client)


def test_what_is_forbidden_would_be_seen(listener, opened, tmp_path):
    """The two tests above prove nothing otherwise."""
    path = tmp_path / "photo.png"
    path.write_bytes(picture_bytes("red"))
    ways: list[Callable[[Path], Any]] = [
        Path.read_bytes,
        lambda path: Image.open(path).close(),
        lambda path: FileSystemStorage(path.parent).open(path.name).close(),
        lambda path: os.close(os.open(path, os.O_RDONLY)),
    ]
    for look in ways:
        opened.clear()
        look(path)
        assert str(path) in opened
    address, came = listener
    host, port = address.removeprefix("http://").split(":")
    socket.create_connection((host, int(port))).close()
    assert wait_until(lambda: bool(came))
