"""Search, from Python: what is found and in which order, at what cost, and what is said when it cannot be."""

from __future__ import annotations

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
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.paginator import Paginator
from django.core.validators import validate_slug
from django.db import DatabaseError
from django.template import Context, Template
from django.utils.translation import gettext_lazy
from PIL import Image
from rest_framework.pagination import LimitOffsetPagination, PageNumberPagination
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from clip_search import SearchUnavailable, encoder, indexing, rebuilding, searching
from clip_search.documents import Document, Keyword, registry
from clip_search.exceptions import (
    BadImage,
    CollectionMissing,
    ModelUnavailable,
    SearchTooDeep,
    SetupError,
    StoreUnavailable,
    UnknownFilter,
)
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.searching import warm_up
from clip_search.stores import get_store
from clip_search.stores.base import Query
from clip_search.stores.openings import Opening
from clip_search.testing import pause_indexing
from clip_search.types import POSTED_SOURCE
from tests.conftest import ROOT, picture_bytes, wait_until
from tests.shop.models import Article, Book, Category, Product, ProductImage, Tag

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
]

COLOURS = ("red", "blue", "green", "yellow", "black", "white")
THINGS = ("mug", "cup", "vase", "lamp", "chair", "bowl", "plate", "spoon", "clock", "towel")


@pytest.fixture
def document() -> Document:
    return registry.get("product")


@pytest.fixture
def configured(settings) -> Callable[..., None]:
    """Return a function that changes keys of CLIP_SEARCH."""

    def change(**keys: object) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | keys

    return change


@pytest.fixture(params=["memory", "embedded", "server"])
def any_store(request, configured) -> Iterator[str]:
    """Run the test on each store."""
    memory = Path("/dev/shm")  # noqa: S108, the folder made in it is nobody else's
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        configured(
            QDRANT={
                "memory": {"backend": "clip_search.testing.MemoryStore"},
                "embedded": {"path": f"{folder}/qdrant"},
                "server": {"backend": "clip_search.stores.server.ServerStore", "location": ":memory:"},
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


def index(document: Document, products: Iterable[Product] | None = None) -> None:
    """Have products indexed, here and now."""
    rows = Product.objects.all() if products is None else products
    IndexEntry.objects.raise_revision(document, document.product_ids(rows))
    index_due(document)


def index_due(document: Document) -> None:
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


def post(document: Document, product_id: str, name: str, **metadata: Any) -> None:
    PostedProduct.objects.keep(document, product_id, {"name": name, "metadata": metadata})
    IndexEntry.objects.raise_revision(document, [product_id], source=POSTED_SOURCE)
    index_due(document)


def fail_with(error: Exception) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> Any:
        raise error

    return fail


# Paging


def test_a_thousand_products_in_pages_of_24_are_each_there_once(any_store, document):
    products = make(f"{COLOURS[n % 6]} {THINGS[n % 10]} {n}" for n in range(1000))
    index(document)
    paginator = Paginator(type(document).search("red mug"), 24)
    with get_store().held(Collection.objects.get().name):
        seen = [product.pk for page in paginator for product in page]
    assert paginator.count == 1000
    assert len(seen) == 1000
    assert set(seen) == set(keys(products))


def test_the_slice_reaches_the_engine(shop, document, asked):
    list(type(document).search("shiny red mug")[24:36])
    near = [query for query in asked if query.legs]
    assert [(query.offset, query.limit, query.depth) for query in near] == [(24, 12, searching.DEPTH)]
    asked.clear()
    type(document).search("shiny red mug")[10:50][5:100].hits()
    assert [(query.offset, query.limit) for query in asked if query.legs] == [(15, 35)]


@pytest.mark.parametrize("by", ["words", "photo", "product", "nothing"])
def test_many_equal_products_are_each_there_once(any_store, document, by):
    products = make(["red mug"] * 80)
    with_pictures(products, ["red"] * 80)
    index(document)
    results = {
        "words": lambda: type(document).search("a mug that is red"),
        "photo": lambda: type(document).search_by_image(picture_bytes("red")),
        "product": lambda: type(document).similar_to(products[0]),
        "nothing": lambda: type(document).search(""),
    }[by]()
    with results.held():
        seen = [product.pk for start in range(0, 80, 7) for product in results[start : start + 7]]
    expected = set(keys(products)) - ({products[0].pk} if by == "product" else set())
    assert len(seen) == len(expected)
    assert set(seen) == expected


def test_a_page_beyond_the_last_is_empty(shop, document):
    assert list(type(document).search("mug")[60:84]) == []
    assert list(type(document).search("mug")[999:]) == []


@pytest.mark.parametrize("window", [slice(1001, 1024), slice(1000, None), slice(5000, 5001), slice(0, 1001)])
def test_too_deep_is_an_error_that_says_so(shop, document, window):
    with pytest.raises(SearchTooDeep, match="end at 1000"):
        type(document).search("mug")[window]


def test_the_last_window_of_a_pager_may_reach_over(shop, document):
    assert list(type(document).search("mug")[990:1014]) == []
    assert list(type(document).search("mug")[1000:1000]) == []
    last = type(document).search("mug")[1000:1024]
    assert (list(last), last.hits(), last.count(), bool(last)) == ([], [], 0, False)
    with pytest.raises(SearchTooDeep):
        type(document).search("mug")[900:][100:]


@pytest.mark.parametrize("window", [slice(None, None, 2), slice(-3, None), slice(0, -1)])
def test_windows_that_a_ranking_does_not_have(shop, document, window):
    with pytest.raises(ValueError, match="forwards"):
        type(document).search("mug")[window]


def test_one_by_one(shop, document):
    results = type(document).search("red mug")
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
    everything = keys(type(document).search("red mug"))
    part = type(document).search("red mug")[10:20]
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
    page = paginator.paginate_queryset(type(document).search("red mug"), request)
    assert keys(page) == keys(type(document).search("red mug")[7:14])
    assert paginator.get_paginated_response([]).data["count"] == 60


def test_rest_framework_asks_for_a_page_behind_the_last(document):
    class Paged(LimitOffsetPagination):
        default_limit, max_limit = 7, 50

    make(f"mug {n}" for n in range(1001))
    index(document)
    request = Request(APIRequestFactory().get("/?offset=1000"))
    assert Paged().paginate_queryset(type(document).search("mug"), request) == []


# What iterating gives, and what it costs


def test_instances_in_rank_order_with_scores(shop, document):
    found = list(type(document).search("big red mug")[:10])
    assert found[0].name.startswith("red")
    scores = [product.search_score for product in found]
    assert scores == sorted(scores, reverse=True)
    hits = type(document).search("big red mug")[:10].hits()
    assert [(hit.product_id, hit.score) for hit in hits] == [(str(p.pk), p.search_score) for p in found]


def test_a_page_takes_two_statements(shop, document, django_assert_num_queries):
    with django_assert_num_queries(2):
        assert len(list(type(document).search("red mug")[:24])) == 24
    with django_assert_num_queries(2):
        page = Paginator(type(document).search("red mug", filters={"price__gte": 0}), 24).page(2)
        assert (len(list(page)), page.paginator.num_pages) == (24, 3)
    with django_assert_num_queries(1):
        results = type(document).search("red mug")
        assert (len(results[:5].hits()), results.count(), bool(results), len(results)) == (5, 60, True, 60)
        results.facet("category")


def test_a_page_is_loaded_once(shop, document, asked, django_assert_num_queries):
    page = type(document).search("red mug")[:5]
    assert page
    with django_assert_num_queries(1):
        assert list(page) == list(page)
        assert (len(page), len(page.hits())) == (5, 5)
        assert page.hits(with_rows=True)[0].instance == shop[0]
        assert [page[rank] for rank in range(5)] == list(page)
        with pytest.raises(IndexError):
            page[5]
    assert len([query for query in asked if query.legs]) == 1


def test_select_and_prefetch_of_the_host_are_kept(shop, document, monkeypatch, django_assert_num_queries):
    Product.objects.update(category=Category.objects.create(name="Kitchen", slug="kitchen"))
    rows = Product.objects.select_related("category").prefetch_related("images")
    monkeypatch.setattr(type(document), "get_queryset", lambda self: rows.all())
    with django_assert_num_queries(3):
        for product in type(document).search("red mug")[:24]:
            assert product.category.slug == "kitchen"
            list(product.images.all())


def test_nothing_is_asked_before_it_is_used(document, django_assert_num_queries):
    with django_assert_num_queries(0):
        results = type(document).search("mug")[5:10]
        assert "product" in repr(results)


def test_an_embedded_store_is_opened_once_a_page(configured, tmp_path, document, monkeypatch):
    pytest.importorskip("qdrant_edge")
    configured(QDRANT={"path": str(tmp_path / "qdrant")})
    products = make(f"{colour} mug" for colour in COLOURS)
    index(document)
    get_store().close()
    opened, open_it = [], Opening._open
    monkeypatch.setattr(Opening, "_open", lambda self: opened.append(self) or open_it(self))
    monkeypatch.setattr(Opening, "_is_wanted", lambda self: True)  # another process waits all the time
    assert next(iter(type(document).search("red mug")[:5])) == products[0]
    assert len(opened) == 1
    assert list(type(document).similar_to(products[0])[:5])
    assert len(opened) == 2
    results = type(document).search("red mug")
    with results.held():
        assert (len(results[:5].hits()), results.count(), results.facet("category")) == (5, 6, {})
    assert len(opened) == 3


# Ranking


def test_words_find_by_what_is_said_and_by_what_is_shown(document):
    said, shown, neither = make(["red things", "thing one", "thing two"])
    with_pictures([said, shown, neither], ["white", "red", "blue"])
    index(document)
    found = keys(type(document).search("something red"))
    assert set(found[:2]) == {said.pk, shown.pk}


def test_weights_choose_between_text_and_image(document, asked):
    said, shown = make(["red things", "thing"])
    with_pictures([said, shown], ["white", "red"])
    index(document)
    search = type(document).search
    assert keys(search("something red", weights={"image": 0}))[0] == said.pk
    assert keys(search("something red", weights={"text": 0}))[0] == shown.pk
    asked.clear()
    search("something red", weights={"text": 2})[:5].hits()
    assert {leg.using: leg.weight for leg in asked[-1].legs} == {"text": 2.0, "image": 1.0}


def test_weights_of_the_document_are_the_default(shop, document, asked, monkeypatch):
    monkeypatch.setattr(type(document), "weights", {"text": 3})
    type(document).search("a red mug")[:5].hits()
    assert {leg.using: leg.weight for leg in asked[-1].legs} == {"text": 3.0}


@pytest.mark.parametrize(
    "weights", [{"text": 2, "image": 1}, {"text": 5, "image": 5}, {"text": 0, "image": 9}]
)
def test_scores_are_in_rank_order_whatever_the_weights(any_store, document, weights):
    other, named = make(["a red mug red mug", "red mug"])
    with_pictures([other], ["red"])
    index(document)
    hits = type(document).search("RED mug", weights=weights).hits()
    assert [hit.product_id for hit in hits] == [str(named.pk), str(other.pk)]
    assert hits[0].score >= hits[1].score
    assert hits[0].score >= 1


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
        type(document).search("mug", weights=weights)


def test_of_several_images_the_best_counts(any_store, document, monkeypatch):
    monkeypatch.setattr(type(document), "max_images", 2)
    first, second, third = make(["one", "two", "three"])
    with_pictures([first, first, second, second, third], ["blue", "red", "blue", "green", "green"])
    index(document)
    by_photo = type(document).search_by_image(picture_bytes("red"))
    assert by_photo[0] == first
    assert set(type(document).search_by_image(picture_bytes("green"))[:2]) == {second, third}
    assert first not in type(document).similar_to(first)


# Exact words


def odd(text: str) -> list[str]:
    """Return a text as shoppers type it."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    spaced = f"  {text.replace(' ', '   ')}\t"
    return [text, text.upper(), text.lower(), bare, spaced, *(text.replace("-", sign) for sign in " _")]


def test_every_sku_and_name_of_the_demo_is_first(document, monkeypatch, asked):
    monkeypatch.syspath_prepend(ROOT / "example_project")
    from shop.catalogue import products

    demo = products()
    made = Product.objects.bulk_create(
        Product(name=p.name, sku=p.sku, description=p.description) for p in demo
    )
    index(document)
    for product in made:
        for text in (product.sku, product.name):
            hits = [type(document).search(t)[:1].hits()[0] for t in [*odd(text), text.replace(" ", "")]]
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
        first, second = type(document).search(text)[:2]
        assert (first, first.search_score) == (meant, 1.0)
        assert second.search_score < 1, text


def test_many_products_of_one_name_come_first_and_page(any_store, document):
    named = make(["Mug"] * 40 + [f"mug number {n}" for n in range(40)])[:40]
    index(document)
    results = type(document).search("MÚG")
    with results.held():
        seen = [key for start in range(0, 80, 9) for key in keys(results[start : start + 9])]
    assert set(seen[:40]) == set(keys(named))
    assert len(set(seen)) == len(seen) == 80
    assert keys(type(document).search("MÚG")[36:44]) == seen[36:44]


def test_exact_ones_respect_filters(document):
    dear, cheap = make(["Mug", "Mug"])
    Product.objects.filter(pk=dear.pk).update(price=50)
    index(document)
    assert keys(type(document).search("mug", filters={"price__lt": 10})) == [cheap.pk]


def test_an_exact_one_needs_no_vector(document, monkeypatch):
    bare, *_ = make(["X-1", "other"])
    monkeypatch.setattr(type(document), "text_fields", ())
    index(document)
    assert type(document).search("x 1")[0] == bare


@pytest.mark.parametrize("text", ["!!!", "\ud800", "a\x00b", "💡", "x" * 20_000, "مرحبا", "“'\"\\"])
def test_odd_texts_are_texts(any_store, few, document, text):
    assert len(list(type(document).search(text)[:5])) == 5


@pytest.mark.parametrize("text", ["", "  \t\n"])
def test_no_words_find_what_meets_the_filters(any_store, document, text):
    products = make(f"mug {n}" for n in range(5))
    Product.objects.filter(pk=products[0].pk).update(price=50)
    index(document)
    results = type(document).search(text, filters={"price": 0})
    assert set(keys(results)) == set(keys(products[1:]))
    assert results.count() == 4


# Filters and facets


def random_shop(document: Document) -> None:
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


def random_filters(document: Document, rng: random.Random) -> dict[str, Any]:
    names = rng.sample(sorted(searching.lookups(document)), rng.randint(1, 3))
    filters = {}
    for name in names:
        field, lookup = searching.lookups(document)[name]
        key = next(key for key, known in document.filter_fields.items() if known is field)
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
    with get_store().held(Collection.objects.get().name):
        for _ in range(500):
            filters = random_filters(document, rng)
            expected = brute_force(filters)
            results = type(document).search("red mug", filters=filters)
            assert {int(hit.product_id) for hit in results[:60].hits()} == expected, filters
            assert results.count() == len(expected), filters
            found_something += bool(expected)
    assert found_something > 150


def test_facets_count_under_the_filters(any_store, document):
    random_shop(document)
    for filters in ({}, {"in_stock": True}, {"price__lt": 10, "tag": "sale"}):
        results = type(document).search("red mug", filters=filters)
        rows = Product.objects.filter(pk__in=brute_force(filters))
        for key, column in (("category", "category__slug"), ("tag", "tags__name")):
            names = [name for name in rows.values_list(column, flat=True) if name]
            assert results.facet(key) == {name: names.count(name) for name in names}
    assert len(type(document).search("mug").facet("category", limit=2)) == 2


def test_facets_count_what_is_found(any_store, document):
    products = make(f"{colour} mug" for colour in COLOURS)
    with_pictures(products[:2], COLOURS)
    Product.objects.update(category=Category.objects.create(name="Kitchen", slug="kitchen"))
    index(document)
    results = {
        "words": type(document).search("a mug"),
        "pictures": type(document).search("a mug", weights={"text": 0}),
        "photo": type(document).search_by_image(picture_bytes("blue")),
        "nothing": type(document).search(""),
        "similar": type(document).similar_to(products[0]),
        "similar to one without a picture": type(document).similar_to(products[5]),
        "unknown": type(document).similar_to("unknown"),
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
    assert type(document).search("a mug").facet("category") == {"a": 2, "b": 1}
    assert type(document).search("a mug").facet("category", limit=1) == {"a": 2}


@pytest.mark.parametrize("command", ["clip_reindex", "clip_verify"])
def test_a_filter_that_is_declared_later_gets_its_index(any_store, document, monkeypatch, command):
    make(["red mug", "blue mug"], description="acme")
    index(document)
    brand = {**document.filter_fields, "brand": Keyword("description")}
    monkeypatch.setattr(type(document), "filter_fields", brand)
    if any_store != "server":  # qdrant-client's own engine counts without an index
        with pytest.raises(SearchUnavailable, match="clip_reindex"):
            type(document).search("mug").facet("brand")
    made = []
    create = get_store().create
    monkeypatch.setattr(get_store(), "create", lambda name, s: made.append(s.filters) or create(name, s))
    call_command(command, "product", stdout=io.StringIO())
    assert [filters["brand"] for filters in made] == ["keyword"]
    assert type(document).search("mug").facet("brand") == {"acme": 2}
    assert type(document).search("mug", filters={"brand": "acme"}).count() == 2


@pytest.mark.parametrize("key", ["price", "colour"])
def test_facet_of_what_is_no_keyword_lists_what_is(document, key):
    with pytest.raises(UnknownFilter, match="There are: category, tag"):
        type(document).search("mug").facet(key)


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
        lambda: type(document).search("mug", filters=filters),
        lambda: type(document).search_by_image(picture_bytes(), filters=filters),
        lambda: type(document).similar_to("1", filters=filters),
    ):
        with pytest.raises(UnknownFilter, match=message):
            search()


@pytest.mark.parametrize(
    "value",
    ["0001-01-01", "9999-12-31", datetime.datetime.max, datetime.datetime.min, "2024-05-01T10:00+02:00"],
)
def test_dates_at_the_ends_of_time_are_dates(any_store, few, document, value):
    for lookup in ("", "__lt", "__gte"):
        assert type(document).search("mug", filters={f"released{lookup}": value}).count() == 0


def test_a_declared_name_may_hold_two_underscores(document, monkeypatch):
    monkeypatch.setattr(type(document), "filter_fields", {"size__cm": document.filter_fields["price"]})
    exact, less = searching.parse_filters(document, {"size__cm": 1, "size__cm__lt": 2})
    assert (exact.key, exact.operator, less.key, less.operator) == ("size__cm", "eq", "size__cm", "lt")


# Rows that are gone


def unpublish(products: Iterable[Product]) -> None:
    """Change rows behind the back of the index."""
    Product.objects.filter(pk__in=keys(products)).update(is_public=False)


@pytest.fixture
def ranked(shop, document) -> list[Product]:
    """The shop's products in the order of one search."""
    return list(type(document).search("a red mug"))


def test_what_is_gone_is_dropped_and_the_page_still_full(ranked, document):
    gone, left = ranked[2:9], [*ranked[:2], *ranked[9:]]
    unpublish(gone)
    results = type(document).search("a red mug")
    assert list(results[:10]) == left[:10]
    assert list(results[10:20]) == left[10:20]
    assert results.count() == 53
    assert [hit.product_id for hit in results[:10].hits()] == [str(product.pk) for product in left[:10]]


def test_hits_do_not_look_at_the_rows(ranked, document, django_assert_num_queries):
    unpublish(ranked[:5])
    with django_assert_num_queries(1):
        hits = type(document).search("a red mug")[:10].hits()
    assert [int(hit.product_id) for hit in hits] == keys(ranked[:10])
    assert not IndexEntry.objects.filter(state="pending").exists()
    shown = type(document).search("a red mug")[:10].hits(with_rows=True)
    assert [hit.instance for hit in shown] == ranked[5:15]


def test_most_of_the_list_is_gone(ranked, document):
    unpublish(ranked[:58])
    assert list(type(document).search("a red mug")[:10]) == ranked[58:]
    unpublish(ranked)
    assert list(type(document).search("a red mug")[:10]) == []


def test_a_page_stays_full_when_more_than_a_spare_is_gone(document):
    products = make(f"red mug {n}" for n in range(300))
    index(document)
    order = keys(type(document).search("the red mug"))
    Product.objects.filter(pk__in=order[:250]).update(is_public=False)
    assert keys(type(document).search("the red mug")[:10]) == order[250:260]
    assert len(products) == 300


def test_a_row_is_found_that_its_own_validators_would_refuse(document, monkeypatch):
    monkeypatch.setattr(Product._meta.get_field("sku"), "validators", [validate_slug])
    monkeypatch.setattr(type(document), "id_field", "sku")
    products = Product.objects.bulk_create(
        [Product(name="red mug", sku="A B/1"), Product(name="mug", sku="B")]
    )
    index(document)
    assert list(type(document).search("the red mug")) == products
    assert type(document).search("the red mug")[:1].hits()[0].product_id == "A B/1"


def test_a_row_whose_own_method_raises_breaks_no_page(few, document, monkeypatch, client):
    monkeypatch.setattr(type(document), "should_index", lambda self, obj: 1 / (obj.pk - few[0].pk))
    assert set(type(document).search("a mug")) == set(few)
    assert client.get("/api/v1/search?q=a+mug").json()["count"] == 6


def test_what_is_gone_is_raised_once_and_then_removed(ranked, document):
    unpublish(ranked[:3])
    before = dict(IndexEntry.objects.values_list("product_id", "revision"))
    list(type(document).search("a red mug")[:5])
    raised = IndexEntry.objects.filter(state=IndexEntry.State.PENDING)
    assert {entry.product_id for entry in raised} == {str(product.pk) for product in ranked[:3]}
    list(type(document).search("a red mug")[:5])
    assert {entry.revision - before[entry.product_id] for entry in raised} == {1}
    index_due(document)
    assert IndexEntry.objects.filter(state=IndexEntry.State.REMOVED).count() == 3
    assert type(document).search("a red mug").count() == 57


def test_an_entry_that_was_lost_is_made_again(ranked, document):
    unpublish(ranked[:1])
    IndexEntry.objects.all().delete()
    list(type(document).search("a red mug")[:5])
    assert IndexEntry.objects.get().product_id == str(ranked[0].pk)


def test_what_somebody_posted_meanwhile_is_left_to_them(ranked, document):
    unpublish(ranked[:1])
    IndexEntry.objects.filter(product_id=str(ranked[0].pk)).update(source=POSTED_SOURCE, state="failed")
    list(type(document).search("a red mug")[:5])
    entry = IndexEntry.objects.get(product_id=str(ranked[0].pk))
    assert (entry.source, entry.state, entry.revision) == (POSTED_SOURCE, "failed", 1)


def test_a_page_is_shown_where_nothing_can_be_raised(ranked, document, monkeypatch, caplog):
    unpublish(ranked[:3])
    monkeypatch.setattr(
        type(IndexEntry.objects.all()), "raise_revision", fail_with(DatabaseError("read-only"))
    )
    assert list(type(document).search("a red mug")[:5]) == ranked[3:8]
    assert "read-only" in caplog.text
    assert Product.objects.count() == 60


def test_a_posted_product_without_a_row_is_a_hit_and_no_orphan(shop, document):
    post(document, "test-123", "a shiny red mug", colour="red")
    results = type(document).search("a shiny red mug")
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
    hit = type(document).search("a shiny red mug")[:1].hits(with_rows=True)[0]
    assert (hit.instance, hit.source) == (shop[5], POSTED_SOURCE)
    unpublish(shop[5:6])
    hit = type(document).search("a shiny red mug")[:1].hits(with_rows=True)[0]
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
        found = list(type(document).search_by_image(photo)[:5])
    assert {product.name.split()[0] for product in found} == {"yellow"}
    assert image.closed


def test_a_pillow_image_keeps_which_way_is_up(document):
    from clip_search.searching.questions import image_bytes

    image = Image.new("CMYK", (3000, 1500))
    exif = image.getexif()
    exif[274] = 6
    with Image.open(io.BytesIO(image_bytes(image))) as written:
        assert (written.size, written.getexif()[274]) == ((1024, 512), 6)


@pytest.mark.parametrize("data", [b"", b"no picture", picture_bytes(fmt="BMP"), picture_bytes(size=1)])
def test_what_is_no_picture_is_refused_at_once(document, data):
    for photo in (data, io.BytesIO(data), SimpleUploadedFile("a.png", data)):
        with pytest.raises(BadImage):
            type(document).search_by_image(photo)


def test_a_damaged_picture_is_refused_when_it_is_decoded(shop, document):
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 100).save(buffer, "JPEG")
    half = buffer.getvalue()[: buffer.tell() // 2]
    with pytest.raises(BadImage, match="truncated"):
        type(document).search_by_image(half).count()
    with pytest.raises(BadImage, match="truncated"):
        type(document).search_by_image(Image.open(io.BytesIO(half)))


@pytest.mark.parametrize("photo", ["/etc/passwd", Path("/etc/passwd"), None, 5])
def test_a_path_is_no_photo(document, photo):
    with pytest.raises(TypeError, match="is no image"):
        type(document).search_by_image(photo)


def test_only_what_has_a_picture_is_counted_for_a_photo(any_store, document):
    products = make(f"{colour} mug" for colour in COLOURS * 2)
    with_pictures(products[:7], COLOURS * 2)
    index(document)
    results = type(document).search_by_image(picture_bytes("red"))
    assert (results.count(), len(list(results)), results[5:].count()) == (7, 7, 2)


def test_min_score_cuts_and_is_counted(shop, document):
    everything = type(document).search_by_image(picture_bytes("red"))
    scores = [hit.score for hit in everything.hits()]
    reds = type(document).search_by_image(picture_bytes("red"), min_score=0.5)
    assert reds.count() == len(list(reds)) == sum(score >= 0.5 for score in scores) == 5
    for score in (float("nan"), 50, -1.1, "high", []):
        with pytest.raises(ValueError, match="min_score"):
            type(document).search_by_image(picture_bytes("red"), min_score=score)
        with pytest.raises(ValueError, match="min_score"):
            type(document).similar_to(shop[0], min_score=score)


# More like this


def test_similar_ones_by_picture_and_words_and_never_itself(any_store, document, monkeypatch, configured):
    products = make(f"{colour} {thing}" for thing in THINGS[:3] for colour in COLOURS)
    with_pictures(products, COLOURS * 3)
    index(document)
    monkeypatch.setattr(encoder, "get_encoder", fail_with(AssertionError("the model was asked")))
    red_mug = products[0]
    results = type(document).similar_to(red_mug)
    assert all("red" in product.name or "mug" in product.name for product in results[:2])
    assert red_mug not in list(results)
    assert results.count() == len(list(results)) == 17
    assert keys(type(document).similar_to(str(red_mug.pk))) == keys(type(document).similar_to(red_mug.pk))
    filtered = type(document).similar_to(red_mug, filters={"price__gt": 0})
    assert (filtered.count(), list(filtered)) == (0, [])


def test_similar_ones_need_no_model(shop, document, configured):
    configured(ENCODER="clip_search.encoder.ClipEncoder", MODEL="/nowhere")
    assert list(type(document).similar_to(shop[0])[:5])
    assert list(type(document).search("")[:5])
    with pytest.raises(SearchUnavailable):
        list(type(document).search("mug"))


def test_min_score_of_similar_ones(shop, document):
    everything = type(document).similar_to(shop[0])
    near = type(document).similar_to(shop[0], min_score=0.9)
    assert 0 < near.count() == len(list(near)) < everything.count()


@pytest.mark.parametrize(
    "product", ["unknown", "", 10**30, Product(name="unsaved"), Product(pk=99, name="new")]
)
def test_what_is_not_in_the_index_is_like_nothing(shop, document, product):
    results = type(document).similar_to(product)
    assert (list(results), results.count(), results.hits(), bool(results)) == ([], 0, [], False)


def test_similar_to_a_product_of_one_kind_of_vector(shop, document):
    without_picture = shop[40]
    assert list(type(document).similar_to(without_picture)[:3])


def test_another_model_is_refused(document):
    with pytest.raises(TypeError, match="holds Product, not Category"):
        type(document).similar_to(Category(pk=1))


def test_a_subclass_counts_as_the_product_that_it_is(shop, document):
    book = Book(product_ptr=shop[0], pk=shop[0].pk)
    assert keys(type(document).similar_to(book)[:5]) == keys(type(document).similar_to(shop[0])[:5])


def test_a_variant_is_like_its_parent(shop, document, monkeypatch):
    expected = keys(type(document).similar_to(shop[0])[:5])
    monkeypatch.setattr(type(document), "index_as", lambda self, obj: shop[0] if obj == shop[7] else None)
    monkeypatch.setitem(document.__dict__, "overridden", document.overridden | {"index_as"})
    assert [hit.product_id for hit in type(document).similar_to(shop[7])[:5].hits()] == list(
        map(str, expected)
    )
    assert type(document).similar_to(shop[8]).hits() == []


# The query vector is kept


@pytest.fixture
def counting(configured) -> Callable[[], list[str]]:
    """Return a function that tells which texts were embedded since it was last called."""
    configured(ENCODER="tests.doubles.CountingEncoder")

    def texts() -> list[str]:
        counted = encoder.get_encoder()
        found, counted.texts = counted.texts, []
        return found

    return texts


def test_the_same_words_are_embedded_once(counting, shop, document):
    counting()
    for text in ("a  red mug", " a red mug\n", "a red mug"):
        type(document).search(text)[:5].hits()
    assert counting() == ["a photo of a red mug"]
    type(document).search("A red mug")[:5].hits()
    assert counting() == ["a photo of A red mug"]


def test_the_prompt_is_around_what_is_asked_whatever_it_is(counting, few, document, monkeypatch):
    counting()
    assert keys(type(document).search("RED  mug")[:1]) == [few[0].pk]
    assert counting() == ["a photo of RED mug"]
    monkeypatch.setattr(type(document), "query_prompt", "{query}, sold here")
    type(document).search("{query} {0} mug")[:1].hits()
    assert counting() == ["{query} {0} mug, sold here"]


def test_another_model_has_its_own_vectors(counting, shop, document, monkeypatch):
    type(document).search("a red mug").hits()
    counting()
    monkeypatch.setattr(type(encoder.get_encoder()), "fingerprint", "another")
    Collection.objects.update(fingerprint="another")
    type(document).search("a red mug").hits()
    assert counting() == ["a photo of a red mug"]


@pytest.mark.parametrize("value", [b"", b"\x00" * 12, "text", None])
def test_what_the_cache_cannot_have_had_is_not_believed(counting, shop, document, monkeypatch, value):
    expected = keys(type(document).search("a red mug"))
    monkeypatch.setattr(cache, "get", lambda key: value)
    assert keys(type(document).search("a red mug")) == expected


def test_a_broken_cache_breaks_no_search(shop, document, monkeypatch, caplog):
    expected = keys(type(document).search("a red mug"))
    monkeypatch.setattr(cache, "get", fail_with(OSError("no route to the cache")))
    monkeypatch.setattr(cache, "set", fail_with(RuntimeError("no room in the cache")))
    assert keys(type(document).search("a red mug")) == expected
    assert "no route" in caplog.text
    assert "no room" in caplog.text


def test_warm_up_loads_what_texts_need(configured, monkeypatch):
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr("clip_search.testing.HashingEncoder.warm_up", lambda self, **o: asked.append(o))
    assert warm_up()
    assert asked == [{"images": False}]


def test_a_shop_comes_up_without_its_model(configured, caplog):
    configured(ENCODER="tests.doubles.MissingEncoder")
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
    "held": lambda results: results.held().__enter__(),
    "Paginator": lambda results: Paginator(results, 5).page(1),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "error", [StoreUnavailable("Start Qdrant."), SetupError("Fix it."), CollectionMissing("Reindex.")]
)
def test_no_use_of_results_is_empty_when_the_store_fails(few, document, monkeypatch, use, error):
    for method in ("query", "count", "facet", "held", "get"):
        monkeypatch.setattr(get_store(), method, fail_with(error))
    for results in (
        type(document).search("mug"),
        type(document).search(""),
        type(document).search_by_image(picture_bytes()),
        type(document).similar_to(few[0]),
    ):
        assert repr(results)
        with pytest.raises(SearchUnavailable, match=str(error)):
            USES[use](results)


@pytest.mark.parametrize("use", sorted(USES.keys() - {"facet"}))
def test_no_use_of_results_is_empty_when_the_model_fails(few, document, monkeypatch, use):
    for method in ("embed_texts", "embed_images"):
        monkeypatch.setattr(f"clip_search.testing.HashingEncoder.{method}", fail_with(ModelUnavailable()))
    for results in (type(document).search("mug"), type(document).search_by_image(picture_bytes())):
        with pytest.raises(SearchUnavailable, match='CLIP_SEARCH\\["MODEL"\\]'):
            USES[use](results)


def test_a_model_that_fails_is_unavailable(few, document, monkeypatch, client):
    failure = fail_with(RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB."))
    for method in ("embed_texts", "embed_images"):
        monkeypatch.setattr(f"clip_search.testing.HashingEncoder.{method}", failure)
    for results in (type(document).search("a mug"), type(document).search_by_image(picture_bytes())):
        with pytest.raises(SearchUnavailable, match="CUDA out of memory"):
            results.count()
    assert client.get("/api/v1/search?q=a+mug").status_code == 503


@pytest.mark.parametrize("text", [None, 5, b"mug", ["mug"]])
def test_what_is_no_text_is_refused(document, text):
    with pytest.raises(TypeError, match="Search for text"):
        type(document).search(text)
    with pytest.raises(TypeError, match="not None"):
        type(document).similar_to(None)


def test_text_may_be_lazy(few, document):
    assert list(type(document).search(gettext_lazy("red mug"))[:1]) == few[:1]


@pytest.mark.parametrize("use", USES)
def test_no_use_of_results_is_empty_before_anything_is_indexed(document, use):
    with pytest.raises(SearchUnavailable, match="clip_reindex product"):
        USES[use](type(document).search("mug"))


def test_a_collection_that_another_model_built_is_not_searched(shop, document, configured):
    configured(ENCODER="tests.doubles.OtherEncoder")
    for results in (type(document).search("mug"), type(document).search_by_image(picture_bytes())):
        with pytest.raises(SearchUnavailable, match="clip_rebuild"):
            results.count()


def test_a_collection_of_another_dimension_is_not_searched(any_store, document, monkeypatch):
    make(["red mug"])
    index(document)
    embed = type(encoder.get_encoder()).embed_texts
    monkeypatch.setattr(type(encoder.get_encoder()), "embed_texts", lambda self, t: embed(self, t)[:, :100])
    with pytest.raises(SearchUnavailable, match=r"dimensions|clip_rebuild|manage.py check"):
        type(document).search("a mug").hits()


@pytest.mark.parametrize(
    "settings_of", [{"ENCODER": "tests.nowhere.Encoder"}, {"QDRANT": {"backend": "tests.nowhere.Store"}}]
)
def test_a_class_that_cannot_be_imported_is_said(few, document, configured, settings_of):
    configured(**settings_of)
    with pytest.raises(SearchUnavailable, match=r"manage\.py check"):
        type(document).search("mug").hits()


def test_settings_without_a_store_are_said(shop, document, configured):
    configured(QDRANT=None)
    with pytest.raises(SearchUnavailable, match="QDRANT"):
        type(document).search("mug").count()


def test_a_swap_in_between_is_not_noticed(shop, document):
    results = type(document).search("a red mug")
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
    embed, before = type(encoder.get_encoder()).embed_texts, Collection.objects.get()

    def swapping(self, texts):
        if "a photo of a red mug" in texts and Collection.objects.filter(pk=before.pk, state="live"):
            for _report in rebuilding.rebuild(document):
                pass
        return embed(self, texts)

    monkeypatch.setattr(type(encoder.get_encoder()), "embed_texts", swapping)
    results = type(document).search("a red mug")
    with results.held():
        assert (results[:1].hits()[0].product_id, results.count()) == (str(products[0].pk), 6)
    assert not get_store().exists(before.name)


def test_a_collection_that_is_lost_is_said(shop, document):
    get_store().destroy(Collection.objects.get().name)
    with pytest.raises(SearchUnavailable, match="clip_reindex"):
        type(document).search("a red mug").count()


@pytest.mark.django_db(databases=["default", "other"])
def test_a_document_of_another_database_is_searched_there():
    document = registry.get("article")
    with pause_indexing():
        article = Article.objects.using("other").create(title="On mugs")
    IndexEntry.objects.raise_revision(document, [str(article.pk)])
    index_due(document)
    (found,) = type(document).search("mugs")
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


def look_everywhere(texts: list[str], document: Document, client: Any) -> None:
    """Search for each text from every entry point."""
    for text in texts:
        assert type(document).search(text).count()
        assert list(type(document).search(text)[:3])
        assert type(document).similar_to(text).hits() == []
        assert client.get("/api/v1/search", {"q": text}).json()["count"]
        assert client.get("/api/v1/search", {"q": "mug", "category": text}).json()["count"] == 0
        assert client.get(f"/api/v1/products/{text}/similar").status_code in (404, 301)
        assert client.post("/api/v1/search", {"image_file": text}).status_code == 400
        assert client.get("/admin/shop/product/", {"q": text}).status_code == 200
        page = "{% load clip_search %}{% clip_search q document='product' as found %}{{ found|length }}"
        assert int(Template(page).render(Context({"q": text})))


def write_everywhere(texts: list[str], document: Document, client: Any) -> None:
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
    configured(ENCODER="clip_search.encoder.ClipEncoder", MODEL=str(ROOT / "example_project" / "demo_model"))
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
