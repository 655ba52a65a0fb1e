"""Words, a photo or a product → vectors → hits → model instances in rank order."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from ..documents.binding import BoundDocument
from .engine import warm_up
from .filters import LOOKUP_NOTES, Filters, keyword_fields, lookups, parse_filters
from .queries import Weights, image_query, more_like_this, text_query
from .ranking import DEPTH, Ranking
from .results import HitResults, SearchResults

__all__ = [
    "DEPTH",
    "LOOKUP_NOTES",
    "Filters",
    "HitResults",
    "SearchResults",
    "Weights",
    "keyword_fields",
    "lookups",
    "parse_filters",
    "search",
    "search_by_image",
    "similar_to",
    "warm_up",
]


def search(
    document: BoundDocument,
    text: str,
    *,
    filters: Filters | None = None,
    weights: Weights | None = None,
) -> SearchResults[Any]:
    """Find products by words: by what they say and what they show, fused by rank.

    Products whose SKU, name or other exact field equals the words come first. `weights` of "text" and "image"
    default to the document's; only their ratio counts. Without words, everything that meets the filters is
    found. Nothing is asked before the results are used; using them raises SearchUnavailable if search cannot
    answer. Raises UnknownFilter, and ValueError if the weights are invalid.
    """
    query = text_query(document, text, parse_filters(document, filters), weights or {})
    return SearchResults(Ranking(document, query))


def search_by_image(
    document: BoundDocument,
    image: Any,
    *,
    filters: Filters | None = None,
    min_score: float | None = None,
) -> SearchResults[Any]:
    """Find products by a photo: an open file, an upload, bytes or a Pillow image, but never a path.

    `min_score` is the lowest cosine of a product's picture, from -1 to 1. Raises UnknownFilter,
    BadFilterValue for another `min_score`, and BadImage: at once if the file is no image, and when the
    results are used if its body is damaged.
    """
    query = image_query(image, parse_filters(document, filters), min_score)
    return SearchResults(Ranking(document, query))


def similar_to(
    document: BoundDocument,
    product: Model | str | int,
    *,
    filters: Filters | None = None,
    min_score: float | None = None,
) -> SearchResults[Any]:
    """Find products like this one, by the vectors that are stored: no model is used.

    The product itself is not found. For a variant, products like its parent are found. If the product is not
    in the index, nothing is found. `min_score` is the lowest cosine that a product must have by its picture,
    or by its text. Raises UnknownFilter, BadFilterValue for a `min_score` that is no cosine, and TypeError
    for an object of another model.
    """
    query = more_like_this(document, product, parse_filters(document, filters), min_score)
    return SearchResults(Ranking(document, query))
