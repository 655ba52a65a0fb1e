"""What an explanation of a search says: see `explaining`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..types import Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class WordReading:
    """A word, code or phrase that a product must have, as the search reads it."""

    text: str
    spellings: tuple[str, ...]
    """The stems that stand for it, each of which is enough. "sku4…" is the beginning of a code."""
    synonyms: tuple[str, ...] = ()
    """Those of the spellings that the document's `synonyms` add."""
    is_phrase: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryReading:
    """How a query was read."""

    words: tuple[WordReading, ...] = ()
    excluded: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Words that say nothing, such as "the"."""
    meaning: str = ""
    """The text whose meaning is compared."""
    corrected: str = ""
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WordMatch:
    """Whether a product has a word of the query."""

    text: str
    spellings: tuple[str, ...]
    """The spellings that the product has. Without one, it lacks the word."""
    weight: float
    """What the word adds to the product's score in the ranking by words. Rare words add more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a product stands in one ranking."""

    score: float
    """The cosine similarity to the query or, for words, the sum of their weights."""
    rank: int | None = None
    """The rank among the products that have all words or, if it has not, among those that have not. From 1;
    None if it comes after those that are ranked."""
    needed: float | None = None
    """The score that a product without all words needs to be found for its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductExplanation:
    """Why a product is found or not."""

    product_id: str
    name: str
    is_found: bool
    rank: int | None = None
    """The rank among the results, from 1. None if it is not found, or so late that it is not ranked."""
    basis: Basis | None = None
    relevance: float = 0.0
    exact: tuple[str, ...] = ()
    """The query, or the codes in it, if exact fields such as the SKU have this value."""
    words: tuple[WordMatch, ...] = ()
    rankings: Mapping[str, Standing] = field(default_factory=dict)
    """The product's place in the rankings by "words", "text" and "image"."""
    notes: tuple[str, ...] = ()
    """Sentences that say why it is not found, or what is wrong with it in the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a search finds what it finds."""

    document: str
    query: str
    reading: QueryReading
    count: int
    """How many products are found, posted ones without a row included."""
    is_whole_shop: bool
    """Whether the whole shop is ranked, so that nothing need be proven."""
    are_closest: bool
    """Whether nothing is found, so that `products` are only the closest."""
    weights: Mapping[str, float]
    products: tuple[ProductExplanation, ...]
    """The first results, or the closest ones if nothing is found."""
    product: ProductExplanation | None = None
    """The product that was asked for."""
