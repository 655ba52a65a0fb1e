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
    default to the document's; only their ratio counts. No words find everything that meets the filters.
    Nothing is asked before the results are used; using them raises SearchUnavailable if they cannot be had.
    Raises UnknownFilter, and ValueError if the weights are invalid.
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

    `min_score` is the lowest cosine of a product's picture, from -1 to 1. Raises UnknownFilter, ValueError
    for another `min_score`, and BadImage: at once for a file that is no image, on use for one whose body is
    damaged.
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
    """Find products like this one, by the vectors that are stored: no model is used. It never finds itself.

    A variant is like its parent. A product that is not in the index has no similar ones. `min_score` is the
    lowest cosine that a product must have by its picture, or by its text. Raises UnknownFilter, ValueError
    for a `min_score` that is no cosine, and TypeError for an object of another model.
    """
    query = more_like_this(document, product, parse_filters(document, filters), min_score)
    return SearchResults(Ranking(document, query))
