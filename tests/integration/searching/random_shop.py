"""A shop of random products, random filters, and what the database finds with them."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from clip_search import searching
from clip_search.documents.binding import BoundDocument
from clip_search.testing import pause_indexing
from tests.shops.shop.models import Category, Product, Tag

from .actions import COLOURS, THINGS, index, make


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
