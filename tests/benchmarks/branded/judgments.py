"""Which products are right for a query, and how good an answer is.

A product is right if its attributes are what the query asks for. Texts are not looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from clip_search.evaluation import metrics

from .attributes import Product

FIRST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a shopper types, and the attributes of the products that are wanted."""

    asked_by: str
    """The class of queries that this belongs to."""
    text: str
    wanted: Mapping[str, str]
    """The value of each attribute that the query names. If it is empty, no product is right."""


def is_right(product: Product, query: Query) -> bool:
    """Return whether a product has all attributes that the query asks for."""
    wanted = query.wanted.items()
    return bool(wanted) and all(getattr(product, attribute) == value for attribute, value in wanted)


def right(products: Sequence[Product], query: Query) -> set[str]:
    """Return the SKUs of the products that are right."""
    return {product.sku for product in products if is_right(product, query)}


def recall(shown: Sequence[str], right: Collection[str]) -> float:
    """Return the right ones among the first ten, as a share of the most there can be."""
    return metrics.recall(grades(shown, right), [1.0] * len(right), FIRST)


def ndcg(shown: Sequence[str], right: Collection[str]) -> float:
    """Return the normalised discounted cumulative gain of the first ten; a product is right or wrong."""
    return metrics.ndcg(grades(shown, right), [1.0] * len(right), FIRST)


def grades(shown: Sequence[str], right: Collection[str]) -> list[float]:
    """Return 1 for each product that is right, and 0 for each that is wrong."""
    return [float(sku in right) for sku in shown]


def hit(shown: Sequence[str], right: Collection[str]) -> float:
    """Return 1 if a right one is among the first ten, else 0."""
    return float(any(sku in right for sku in shown[:FIRST]))


def found_precision(found: Collection[str], right: Collection[str]) -> float:
    """Return the share of what was found that is right. If nothing was found, this is 0."""
    return len(set(found) & set(right)) / len(found) if found else 0.0


def found_recall(found: Collection[str], right: Collection[str]) -> float:
    """Return the share of the right ones that was found."""
    return len(set(found) & set(right)) / len(right)
