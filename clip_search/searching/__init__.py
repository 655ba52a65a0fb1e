"""Text, an image or a product → vectors → hits → model instances in rank order."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from ..documents import Document
from .engine import answering, warm_up
from .filters import LOOKUP_NOTES, Filters, keyword_fields, lookups, parse_filters
from .questions import Shares, about_image, about_product, about_text
from .ranking import DEPTH, Ranking
from .results import SearchResults
from .rows import keys_of

__all__ = [
    "DEPTH",
    "LOOKUP_NOTES",
    "Filters",
    "SearchResults",
    "answering",
    "keys_of",
    "keyword_fields",
    "lookups",
    "parse_filters",
    "search",
    "search_by_image",
    "similar_to",
    "warm_up",
]


def search(
    document: Document,
    text: str,
    *,
    filters: Filters | None = None,
    weights: Shares | None = None,
) -> SearchResults:
    """Find products by words: by what they say and what they show, fused by rank.

    Products whose SKU, name or other exact field is what was typed come first. `weights` of "text" and
    "image" default to the document's. No words at all find everything that meets the filters.
    Nothing is asked before the results are used; then SearchUnavailable says why they cannot be had.
    Raises UnknownFilter, and ValueError for weights that are none.
    """
    question = about_text(document, text, parse_filters(document, filters), weights or {})
    return SearchResults(Ranking(document, question))


def search_by_image(
    document: Document,
    image: Any,
    *,
    filters: Filters | None = None,
    min_score: float | None = None,
) -> SearchResults:
    """Find products by a photo: an open file, an upload, bytes or a Pillow image, never a path.

    Raises UnknownFilter, and BadImage: at once for what is no image, on use for one whose body is damaged.
    `min_score` is the lowest cosine of a product's picture, from -1 to 1; another one is a ValueError.
    """
    question = about_image(image, parse_filters(document, filters), min_score)
    return SearchResults(Ranking(document, question))


def similar_to(
    document: Document,
    product: Model | str | int,
    *,
    filters: Filters | None = None,
    min_score: float | None = None,
) -> SearchResults:
    """Find products like this one, by the vectors that are stored: no model is asked. Never returns itself.

    A variant is like its parent. A product that is not in the index has no similar ones.
    `min_score` is the lowest cosine that a product must have by its picture, or by its text.
    Raises UnknownFilter, and TypeError for an object of another model.
    """
    question = about_product(document, product, parse_filters(document, filters), min_score)
    return SearchResults(Ranking(document, question))
