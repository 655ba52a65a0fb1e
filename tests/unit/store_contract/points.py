"""Points, queries and conditions for the contract, and what a store must return for them."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from clip_search.stores.base import Condition, Rank, Retriever, Schema, ScoredPoint
from clip_search.types import IMAGE, TEXT, ImageStamp, Point, Stamp, Words, point_id

DIMENSION = 16
FILTERS = {"category": "keyword", "tags": "keyword", "price": "number", "in_stock": "bool", "added": "date"}
SCHEMA = Schema(dimension=DIMENSION, filters=FILTERS)
START = datetime(2024, 1, 1, tzinfo=UTC)


def vector(seed: int, *shape: int) -> np.ndarray:
    """Return unit vectors that depend on the seed alone."""
    values = np.random.default_rng(seed).standard_normal((*shape, DIMENSION))
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def product(number: int, revision: int = 1, **changes: Any) -> Point:
    """Return product `number` with every kind of stamp, both vectors and no payload."""
    stamp = Stamp(
        product_id=f"p-{number}",
        revision=revision,
        fingerprint="model",
        text_hash=f"text {number} {revision}",
        images=(
            ImageStamp(signature="a.jpg 10 1.5", hash="abc"),
            ImageStamp(signature="b", hash="", error="x"),
        ),
        exact=(f"sku-{number}",),
    )
    vectors = {TEXT: vector(number), IMAGE: vector(number + 10_000)}
    return replace(Point(id=point_id("product", stamp.product_id), stamp=stamp, vectors=vectors), **changes)


def payload(number: int) -> dict[str, Any]:
    """Return a payload in which every value is missing, null or empty for some numbers."""
    values: dict[str, Any] = {
        "name": f"Émail nº {number}",
        "category": ["mug", "cup", "bowl"][number % 3],
        "tags": ["red", "blue", "gift", "sale"][number % 4 : number % 4 + number % 3],
        "price": number / 4 if number % 2 else number,
        "in_stock": number % 5 > 1,
        "added": (START + timedelta(hours=7 * number)).isoformat(),
    }
    for position, key in enumerate(FILTERS):
        if number % 11 == position:
            del values[key]
        elif number % 13 == position:
            values[key] = None
    return values


def shop(size: int = 60) -> list[Point]:
    """Return products with payloads; every seventh has no image vector."""
    points = [product(number, payload=payload(number)) for number in range(size)]
    return [
        replace(point, vectors={TEXT: point.vectors[TEXT]}) if number % 7 == 3 else point
        for number, point in enumerate(points)
    ]


def live(points: list[Point], using: str) -> list[Point]:
    return [point for point in points if using in point.vectors]


def with_words(number: int, weights: dict[str, float], *codes: str, **changes: Any) -> Point:
    """Return product `number` with these words. Filters find the codes, too."""
    return product(number, words=Words(terms=[*weights, *codes], weights=weights), **changes)


def ids_of(found: list[ScoredPoint] | list[Rank]) -> list[uuid.UUID]:
    return [hit.id for hit in found]


def by_cosine(points: list[Point], retriever: Retriever) -> list[uuid.UUID]:
    scored = [
        (-float(p.vectors[retriever.using] @ retriever.vector), p.id) for p in live(points, retriever.using)
    ]
    return [id_ for _, id_ in sorted(scored)]


def meets(values: dict[str, Any], condition: Condition) -> bool:
    """Say by hand what a condition means."""
    value = values.get(condition.key)
    items = [item for item in (value if isinstance(value, list) else [value]) if item is not None]
    wanted = condition.value
    if condition.operator == "all":
        return all(meets(values, each) for each in wanted) != condition.negated
    if condition.operator == "isnull":
        return ((not items) == wanted) != condition.negated
    if condition.key == "added":
        items, wanted = [datetime.fromisoformat(item) for item in items], datetime.fromisoformat(str(wanted))
    held = {
        "eq": lambda item: item == wanted,
        "in": lambda item: item in wanted,
        "gt": lambda item: item > wanted,
        "gte": lambda item: item >= wanted,
        "lt": lambda item: item < wanted,
        "lte": lambda item: item <= wanted,
    }[condition.operator]
    return any(held(item) for item in items) != condition.negated


def any_condition(rng: random.Random) -> Condition:
    """Return a condition of any kind on any key."""
    key = rng.choice(list(FILTERS))
    kind, negated = FILTERS[key], rng.random() < 0.3
    if rng.random() < 0.15:
        return Condition(key=key, operator="isnull", value=rng.random() < 0.5, negated=negated)
    if kind == "keyword":
        words = ["mug", "cup", "bowl", "red", "blue", "gift", "nothing"]
        if rng.random() < 0.5:
            return Condition(key=key, operator="eq", value=rng.choice(words), negated=negated)
        return Condition(key=key, operator="in", value=rng.sample(words, rng.randint(0, 3)), negated=negated)
    if kind == "bool":
        return Condition(key=key, operator="eq", value=rng.random() < 0.5, negated=negated)
    operator = rng.choice(["gt", "gte", "lt", "lte"])
    if kind == "date":
        moment = START + timedelta(hours=7 * rng.randint(0, 60))
        return Condition(key=key, operator=operator, value=moment.isoformat(), negated=negated)
    number = rng.choice([rng.randint(0, 60), rng.randint(0, 240) / 4])
    if rng.random() < 0.3:
        return Condition(key=key, operator="in", value=[number, number + 1], negated=negated)
    return Condition(key=key, operator=rng.choice([operator, "eq"]), value=number, negated=negated)


OPERATIONS: list[tuple[str, Any, Any]] = [
    ("category", "eq", "mug"),
    ("category", "in", ["mug", "bowl"]),
    ("category", "in", []),
    ("tags", "eq", "gift"),
    ("tags", "in", ["red", "sale"]),
    ("tags", "isnull", True),
    ("tags", "isnull", False),
    ("price", "eq", 8),
    ("price", "eq", 8.0),
    ("price", "eq", 4.75),
    ("price", "in", [8, 4.75]),
    ("price", "gt", 8),
    ("price", "gte", 8),
    ("price", "lt", 4.75),
    ("price", "lte", 4.75),
    ("price", "isnull", True),
    ("in_stock", "eq", True),
    ("in_stock", "eq", False),
    ("in_stock", "isnull", False),
    ("added", "gt", (START + timedelta(hours=70)).isoformat()),
    ("added", "gte", "2024-01-03T22:00:00Z"),
    ("added", "lt", "2024-01-04T00:00:00+02:00"),
    ("added", "lte", START + timedelta(hours=70)),
    ("added", "eq", START + timedelta(hours=70)),
    ("added", "isnull", True),
]
