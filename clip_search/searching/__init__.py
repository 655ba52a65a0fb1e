"""Search by words, by a photo or by another product, and return rows or hits, best first."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from ..documents.binding import BoundDocument
from .facets import facet_options, parse_facets
from .filters import LOOKUP_NOTES, Filters, lookups, parse_filters
from .ordering import parse_order
from .queries import Weights, image_query, more_like_this, text_query
from .ranges import PERIODS
from .ranking import Ranking
from .results import HitResults, SearchResults
from .retrieval import warm_up
from .suggesting import MOST_SUGGESTIONS, SuggestedCategory, Suggestions, suggest

__all__ = [
    "LOOKUP_NOTES",
    "MOST_SUGGESTIONS",
    "PERIODS",
    "Filters",
    "HitResults",
    "SearchResults",
    "SuggestedCategory",
    "Suggestions",
    "Weights",
    "facet_options",
    "lookups",
    "parse_facets",
    "parse_filters",
    "parse_order",
    "search",
    "search_by_image",
    "similar_to",
    "suggest",
    "warm_up",
]


def search(
    document: BoundDocument,
    text: str,
    *,
    image: Any = None,
    filters: Filters | None = None,
    weights: Weights | None = None,
    min_score: float | None = None,
    everything: bool | None = None,
) -> SearchResults[Any]:
    """Return the products that match the words in `text`, best first.

    First come products of which an exact field, such as the SKU, equals `text`; then those whose texts have
    all its words; then those as near in meaning as they are. If no product has the words, the results are
    empty, and `results.closest` has the products that are nearest in meaning. With `everything=True`, or if
    the document says so, the whole shop is ranked. If `text` is empty, every product that meets the filters
    is returned.

    With `image`, a photo as for `search_by_image()`, the products with an image are ranked by how like it is
    to the sum of the photo and the words, as in `search("in red", image=photo)`. `weights` says how much
    "photo" and "words" count in this sum.

    `weights` says how much "text", "image", "words" and "photo" count in the order, as in `{"words": 2}`; the
    document's `weights` are the default. Products whose text and image both have a lower cosine similarity to
    the query than `min_score`, from -1 to 1, are left out.

    The search runs when the results are used; it then raises SearchUnavailable if the index or the CLIP model
    cannot be used. Raises UnknownFilter or BadFilterValue for wrong filters or a wrong `min_score`,
    ValueError for wrong weights, TypeError if `text` is no string, and BadImage.
    """
    query = text_query(
        document,
        text,
        parse_filters(document, filters),
        weights or {},
        min_score=min_score,
        everything=everything,
        image=image,
    )
    return SearchResults(Ranking(document, query))


def search_by_image(
    document: BoundDocument,
    image: Any,
    *,
    filters: Filters | None = None,
    min_score: float | None = None,
) -> SearchResults[Any]:
    """Return the products whose images are most like a photo, best first.

    `image` is an open file, an upload, bytes or a Pillow image; a path raises TypeError. Products whose image
    has a lower cosine similarity to the photo than `min_score`, from -1 to 1, are left out.

    Raises BadImage at once if the file is no image, or when the results are used if the image data is
    damaged. Raises UnknownFilter or BadFilterValue for wrong filters or a wrong `min_score`. Using the
    results raises SearchUnavailable like those of `search()`.
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
    """Return the products that are most like `product`, a row or a product id, best first.

    The product's stored vectors are used, so the CLIP model is not needed. The product itself is left out.
    For a variant, products like its parent are returned. If the product is not in the index, the results are
    empty. With `min_score`, from -1 to 1, a product is found only if the cosine similarity of the two images,
    or of the two texts, is at least `min_score`.

    Raises UnknownFilter or BadFilterValue for wrong filters or a wrong `min_score`, and TypeError if
    `product` is an object of another Django model. Using the results raises SearchUnavailable like those of
    `search()`.
    """
    query = more_like_this(document, product, parse_filters(document, filters), min_score)
    return SearchResults(Ranking(document, query))
