"""Reads filters from a request and builds the responses of the search endpoints."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from ..documents.binding import BoundDocument
from ..exceptions import UnknownFilter
from ..models import IndexEntry
from ..searching import SearchResults, Suggestions, lookups, parse_filters
from ..types import FacetValue, Hit

MAX_VALUES: Final = 100
MAX_VALUE: Final = 1000
FIELDS: Final = ("product_id", "score", "source", "payload")


def filters_of(document: BoundDocument, params: QueryDict, known: Collection[str]) -> dict[str, Any]:
    """Return all request parameters that are not in `known`, as filters.

    Raises ValidationError, which names each unknown filter and each filter with an invalid value.
    """
    filters, faults = {}, {}
    for name in params:
        if name in known:
            continue
        try:
            filters[name] = value_of(document, name, params.getlist(name))
            parse_filters(document, {name: filters[name]})
        except UnknownFilter as error:
            faults[name] = [str(error)]
    if faults:
        raise ValidationError(faults)
    return filters


def value_of(document: BoundDocument, name: str, values: list[Any]) -> Any:
    """Return the value of a request parameter: a list for the lookup `in`, otherwise a string.

    A client sends a list as one value with commas, or repeats the parameter. Raises UnknownFilter if a value
    is invalid.
    """
    if not all(isinstance(value, str) for value in values):
        raise UnknownFilter("The value is a file. Send an image in the field image_file.")
    _field, lookup = lookups(document).get(name, (None, ""))
    if lookup == "in":
        values = values[0].split(",") if len(values) == 1 else values
    elif len(values) > 1:
        raise UnknownFilter(
            f"The filter is given {len(values)} times. To send several values, use the lookup 'in'."
        )
    for value in values:
        check_value(value)
    if len(values) > MAX_VALUES:
        raise UnknownFilter(f"The filter has more than {MAX_VALUES} values. Send fewer.")
    return values if lookup == "in" else values[0]


def check_value(value: str) -> None:
    """Raise UnknownFilter if a filter value is empty, too long or not UTF-8."""
    if not value:
        raise UnknownFilter("The value is empty. Leave the filter out, or send a value.")
    if len(value) > MAX_VALUE:
        raise UnknownFilter(f"The value is longer than {MAX_VALUE} characters.")
    if "\N{REPLACEMENT CHARACTER}" in value:
        raise UnknownFilter("This is not valid UTF-8. Percent-encode the UTF-8 bytes.")


def page_of(results: SearchResults[Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response for one page of results. The store is opened only once for all of it.

    The shop's rows are read too, although the response does not contain them: so a product that has just been
    unpublished is left out.
    """
    page, size = asked["page"], asked["page_size"]
    hits = results.hits(with_rows=True)
    with hits.session():
        shown = [shown_as(hit) for hit in hits[(page - 1) * size : page * size]]
        count = hits.count()
        names = asked.get("facets", ())
        facets = hits.facets(*names) if names else {}
    found = {key: values_of(facet) for key, facet in facets.items()}
    return {"count": count, "page": page, "page_size": size, "facets": found, "results": shown}


def values_of(values: Sequence[FacetValue]) -> list[dict[str, Any]]:
    """Return the values of a facet for the response."""
    return [
        {
            "value": each.value,
            "label": each.label,
            "count": each.count,
            "children": values_of(each.children),
        }
        for each in values
    ]


def shown_as(hit: Hit) -> dict[str, Any]:
    return {name: getattr(hit, name) for name in FIELDS}


def suggested(found: Suggestions) -> dict[str, Any]:
    """Return the response for suggestions. A product without `get_absolute_url()` has an empty URL."""
    products = []
    for hit in found.products:
        row = hit.instance
        url = row.get_absolute_url() if hasattr(row, "get_absolute_url") else ""
        name = hit.payload["name"] if row is None else str(row)
        products.append({"product_id": hit.product_id, "name": name, "url": url})
    categories = [asdict(category) for category in found.categories]
    return {"queries": found.queries, "products": products, "categories": categories}


def is_indexed(document: BoundDocument, product_id: str) -> bool:
    """Return whether the product has an index entry, unless it was removed from the index."""
    entries = IndexEntry.objects.of(document).filter(uuid=document.point_id(product_id))
    return entries.exclude(state=IndexEntry.State.REMOVED).exists()
