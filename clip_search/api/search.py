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
from ..searching import SearchResults, Suggestions, facet_options, lookups, parse_facets, parse_filters
from ..types import FacetValue, Hit

MAX_VALUES: Final = 100
MAX_VALUE: Final = 1000
FIELDS: Final = ("product_id", "score", "basis", "relevance", "source", "payload")


def split_parameters(
    document: BoundDocument, params: QueryDict, known: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all request parameters that are not in `known`, as filters and as options of facets.

    Raises ValidationError, which names each unknown parameter and each with an invalid value.
    """
    names = facet_options(document)
    filters: dict[str, Any] = {}
    options: dict[str, Any] = {}
    faults = {}
    for name in params:
        if name in known:
            continue
        try:
            if name in names:
                key, field = names[name]
                options[key] = value_of(params.getlist(name), is_list=field.kind == "number")
                parse_facets(document, [], {key: options[key]})
            else:
                _field, lookup = lookups(document).get(name, (None, ""))
                filters[name] = value_of(params.getlist(name), is_list=lookup == "in")
                parse_filters(document, {name: filters[name]})
        except UnknownFilter as error:
            faults[name] = [str(error)]
    if faults:
        raise ValidationError(faults)
    return filters, options


def value_of(values: list[Any], *, is_list: bool) -> Any:
    """Return the value of a request parameter: a string, or a list of strings.

    A client sends a list as one value with commas, or repeats the parameter. Raises UnknownFilter if a value
    is invalid.
    """
    if not all(isinstance(value, str) for value in values):
        raise UnknownFilter("The value is a file. Send an image in the field image_file.")
    if is_list:
        values = values[0].split(",") if len(values) == 1 else values
    elif len(values) > 1:
        raise UnknownFilter(
            f"It is given {len(values)} times. To send several values of a filter, use the lookup 'in'."
        )
    for value in values:
        check_value(value)
    if len(values) > MAX_VALUES:
        raise UnknownFilter(f"It has more than {MAX_VALUES} values. Send fewer.")
    return values if is_list else values[0]


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
    names, options = asked["facets"], asked["options"]
    hits = results.order_by(*asked["order_by"]).hits(with_rows=True)
    with hits.session():
        shown = [shown_as(hit) for hit in hits[(page - 1) * size : page * size]]
        count = hits.count()
        facets = hits.facets(*names, **options) if names or options else {}
        return {
            "count": count,
            "page": page,
            "page_size": size,
            "corrected": hits.corrected,
            "dropped": hits.dropped,
            "facets": {key: values_of(facet) for key, facet in facets.items()},
            "facet_stats": {
                key: {"minimum": facet.minimum, "maximum": facet.maximum, "exact": facet.exact}
                for key, facet in facets.items()
            },
            "results": shown,
            "closest": [] if count else [shown_as(hit) for hit in hits.closest],
        }


def values_of(values: Sequence[FacetValue]) -> list[dict[str, Any]]:
    """Return the values of a facet for the response."""
    return [
        {
            "value": each.value,
            "label": each.label,
            "count": each.count,
            "chosen": each.chosen,
            "start": each.start,
            "end": each.end,
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
