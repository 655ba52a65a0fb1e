"""Count, pages, facets, order and filters of one search agree, whatever is searched for."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from clip_search.documents.binding import BoundDocument
from clip_search.models import Collection
from clip_search.searching import HitResults
from clip_search.stores import get_store
from clip_search.testing import HashingEncoder
from clip_search.types import IMAGE, TEXT, Hit, Point, Stamp
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product

from .actions import COLOURS, THINGS, counted, index, make, with_pictures
from .random_shop import brute_force, random_filters, random_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("any_store")]

ORDERS = (
    (),
    ("price",),
    ("-price", "relevance"),
    ("released", "-price"),
    ("-in_stock", "price"),
    ("relevance",),
)


def random_text(rng: random.Random) -> str:
    """Return words of which most are in the shop, with operators between some of them."""
    ways: list[Callable[[], str]] = [
        lambda: rng.choice(COLOURS),
        lambda: rng.choice(THINGS),
        lambda: f"{rng.choice(COLOURS)} {rng.choice(THINGS)}",
        lambda: f"the {rng.choice(THINGS)} -{rng.choice(COLOURS)}",
        lambda: f'"{rng.choice(COLOURS)} {rng.choice(THINGS)}"',
        lambda: f"SKU-00{rng.randint(0, 70):02d}",
        lambda: f"sku-000{rng.randint(0, 6)}",
        lambda: rng.choice(["", "asdfgh", "re", "-red", "red asdfgh"]),
    ]
    return rng.choice(ways)()


def in_pages(results: HitResults, rng: random.Random) -> list[Hit]:
    """Return all hits, read in pages of random sizes."""
    found: list[Hit] = []
    while True:
        size = rng.randint(1, 40)
        page = list(results[len(found) : len(found) + size])
        found += page
        if len(page) < size:
            return found


def is_sorted(hits: list[Hit], order: tuple[str, ...]) -> bool:
    """Return whether the hits are sorted by the first of these filters, those without a value last."""
    values = [hit.payload.get(order[0].removeprefix("-")) for hit in hits]
    known = [value for value in values if value is not None]
    return values == sorted(known, reverse=order[0].startswith("-")) + [None] * (len(values) - len(known))


def test_five_hundred_random_searches_agree(document):
    random_shop(document)
    rng = random.Random(4)
    found_some, by_meaning = 0, 0
    searched: dict[Any, tuple[HitResults, set[int]]] = {}
    with get_store().session(Collection.objects.get().name):
        for number in range(500):
            text, filters = random_text(rng), random_filters(document, rng) if rng.random() < 0.8 else {}
            order, everything = ORDERS[number % len(ORDERS)], rng.random() < 0.2
            said = (text, filters, order, everything)
            if (text, everything) not in searched:
                new = ProductDocument.search(text, everything=everything).hits()
                searched[text, everything] = new, {int(hit.product_id) for hit in new}
            unfiltered, found = searched[text, everything]
            results = unfiltered.filter(**filters).order_by(*order)
            hits = in_pages(results, rng)
            ids = {int(hit.product_id) for hit in hits}
            assert len(hits) == len(ids) == results.count(), said
            assert ids == found & brute_force(filters), said
            if order and order[0] != "relevance":
                assert is_sorted(hits, order), said
            else:
                relevance = [hit.relevance for hit in hits]
                assert relevance == sorted(relevance, reverse=True), said
            if not any(name.partition("__")[0] == "in_stock" for name in filters):
                assert sum(counted(results, "in_stock").values()) == len(hits), said
            assert list(results) == hits, said
            found_some += bool(hits)
            by_meaning += any(hit.basis == "meaning" for hit in hits)
    assert found_some > 150
    assert by_meaning > 20


@pytest.fixture
def large(document) -> BoundDocument:
    """5,000 mugs of six colours and fifty prices, and 500 vases.

    Six of them are indexed. The others are written to the store like these, which is quicker.
    """
    categories = [Category.objects.create(name=slug, slug=slug) for slug in ("kitchen", "bath", "garden")]
    products = make(f"{COLOURS[n % 6]} {'vase' if n >= 5000 else 'mug'} number{n % 40}" for n in range(5500))
    for number, one in enumerate(products):
        one.price, one.category = number * 7 % 50, categories[number % 7 % 3]
    Product.objects.bulk_update(products, ["price", "category"], batch_size=500)
    index(document, products[:6])
    encoder, declared = HashingEncoder(), document.declaration
    texts = encoder.embed_texts([one.name for one in products])
    words = [document.analyser.words_of(declared.get_search_texts(one), [one.sku]) for one in products]
    points = [
        Point(
            id=document.point_id(str(one.pk)),
            stamp=Stamp(product_id=str(one.pk), revision=1),
            vectors={TEXT: np.asarray(vector)} | ({IMAGE: np.asarray(vector)} if number % 2 else {}),
            payload=declared.get_payload(one),
            words=said,
        )
        for number, (one, vector, said) in enumerate(zip(products, texts, words, strict=True))
    ]
    store, name = get_store(), Collection.objects.get().name
    for start in range(6, len(points), 500):
        store.put(name, points[start : start + 500])
    return document


@pytest.mark.parametrize("any_store", ["embedded"], indirect=True)
def test_twenty_searches_that_find_five_thousand_products_agree(large):
    """qdrant-client's own engine would take minutes for this."""
    rng = random.Random(5)
    mugs = set(Product.objects.filter(name__contains="mug").values_list("pk", flat=True))
    orders: list[tuple[str, ...]] = [(), ("price",), ("-price", "category"), ("relevance",)]
    with get_store().session(Collection.objects.get().name):
        for text, order in product(("mug", "the mugs", "a MUG please", "mug -vase", '"mug"'), orders):
            unfiltered = ProductDocument.search(text).hits()
            results = unfiltered.filter(price__gte=0).order_by(*order)
            hits: list[Hit] = []
            while page := list(results[len(hits) : len(hits) + rng.randint(500, 2000)]):
                hits += page
            assert results.count() == len(hits) == 5000
            assert {int(hit.product_id) for hit in hits} == mugs
            assert sum(counted(results, "category").values()) == 5000
            assert sum(each.count for each in results.facets(price=[10, 20, 30])["price"]) == 5000
            if order and order[0] != "relevance":
                assert is_sorted(hits, order)
            cheap = unfiltered.filter(price__lt=10).order_by(*order)
            assert cheap.count() == sum(hit.payload["price"] < 10 for hit in hits)
            assert counted(cheap.filter(category="bath"), "category") == counted(cheap, "category")


@pytest.mark.parametrize("weights", [{}, {"text": 0, "image": 0}, {"text": 0, "words": 0}])
@pytest.mark.parametrize(
    "text", ["n-00", '"red mug"', "teacup", '"red mug" -lamp'], ids=["code", "phrase", "joined", "without"]
)
def test_what_the_words_do_not_rank_is_counted_like_all_else(document, text, weights):
    names = [f"a red mug of {colour}" for colour in COLOURS] + [f"{colour} tea cup" for colour in COLOURS]
    rows = Product.objects.bulk_create(
        Product(name=name, sku=f"N-00{n:02d}", price=n, in_stock=n % 2 == 0) for n, name in enumerate(names)
    )
    if "text" in weights and "image" not in weights:
        with_pictures(rows, COLOURS * 2)
    index(document)
    results = ProductDocument.search(text, weights=weights)
    found = {product.pk for product in results}
    assert len(found) == (12 if text == "n-00" else 6) == results.count()
    assert {product.pk for product in results.order_by("price")} == found
    assert {product.pk for product in results.filter(in_stock=True)} == {
        product.pk for product in rows if product.in_stock and product.pk in found
    }
    assert sum(counted(results, "in_stock").values()) == len(found)
