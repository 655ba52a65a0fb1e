"""The search endpoints: filters from a request's parameters, and a page of results as an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from ..documents.binding import BoundDocument
from ..exceptions import UnknownFilter
from ..models import IndexEntry
from ..searching import SearchResults, lookups, parse_filters
from ..types import Hit

MAX_VALUES: Final = 100
MAX_VALUE: Final = 1000
FIELDS: Final = ("product_id", "score", "source", "payload")


def filters_of(document: BoundDocument, params: QueryDict, known: Collection[str]) -> dict[str, Any]:
    """Return the parameters that are not `known` as filters. Raises ValidationError with their names."""
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
    """Return a parameter's value, or a list for the lookup `in`. Raises UnknownFilter.

    A list is either one parameter, joined by commas, or several parameters, whose values may have commas.
    """
    if not all(isinstance(value, str) for value in values):
        raise UnknownFilter("This is a file. Send the image as image_file.")
    _field, lookup = lookups(document).get(name, (None, ""))
    if lookup == "in":
        values = values[0].split(",") if len(values) == 1 else values
    elif len(values) > 1:
        raise UnknownFilter(f"It is given {len(values)} times. For several values, use the lookup in.")
    for value in values:
        check_value(value)
    if len(values) > MAX_VALUES:
        raise UnknownFilter(f"It has more than {MAX_VALUES} values. Send fewer.")
    return values if lookup == "in" else values[0]


def check_value(value: str) -> None:
    """Raise UnknownFilter for a value that no product can have."""
    if not value:
        raise UnknownFilter("It is empty. Leave it out, or send a value.")
    if len(value) > MAX_VALUE:
        raise UnknownFilter(f"It is longer than {MAX_VALUE} characters.")
    if "\N{REPLACEMENT CHARACTER}" in value:
        raise UnknownFilter("This is not valid UTF-8. Percent-encode the UTF-8 bytes.")


def page_of(results: SearchResults[Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer for a page of results, with one opening of the store.

    The shop's rows are read, but not returned: a product that has just been unpublished must not be found.
    """
    page, size = asked["page"], asked["page_size"]
    hits = results.hits(with_rows=True)
    with hits.session():
        shown = [shown_as(hit) for hit in hits[(page - 1) * size : page * size]]
        count = hits.count()
        facets = {key: hits.facet(key) for key in asked.get("facets", ())}
    return {"count": count, "page": page, "page_size": size, "facets": facets, "results": shown}


def shown_as(hit: Hit) -> dict[str, Any]:
    return {name: getattr(hit, name) for name in FIELDS}


def is_indexed(document: BoundDocument, product_id: str) -> bool:
    """Return whether the index has a product of that id, or is about to."""
    entries = IndexEntry.objects.of(document).filter(uuid=document.point_id(product_id))
    return entries.exclude(state=IndexEntry.State.REMOVED).exists()
