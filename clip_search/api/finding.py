"""What the search endpoints do: read filters from a request, and answer with a page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from ..documents import Document
from ..exceptions import UnknownFilter
from ..models import IndexEntry
from ..searching import SearchResults, lookups, parse_filters
from ..types import Hit

MAX_VALUES: Final = 100
MAX_VALUE: Final = 1000
FIELDS: Final = ("product_id", "score", "source", "payload")


def filters_of(document: Document, params: QueryDict, known: Collection[str]) -> dict[str, Any]:
    """Return the parameters that are not `known` as filters. Raises ValidationError by their names."""
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


def value_of(document: Document, name: str, values: list[Any]) -> Any:
    """Return a parameter's value, or a list for the lookup `in`. Raises UnknownFilter.

    A list is one parameter, joined by commas, or several, whose values may hold commas.
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
    """Raise UnknownFilter for a value that nothing can have."""
    if not value:
        raise UnknownFilter("It is empty. Leave it out, or send a value.")
    if len(value) > MAX_VALUE:
        raise UnknownFilter(f"It is longer than {MAX_VALUE} characters.")
    if "\N{REPLACEMENT CHARACTER}" in value:
        raise UnknownFilter("This is not valid UTF-8. Percent-encode the UTF-8 bytes.")


def page_of(results: SearchResults, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is answered for a page of results, all of it from one opening of the store.

    The rows are looked at, and not shown: what is unpublished must not be found meanwhile.
    """
    page, size = asked["page"], asked["page_size"]
    with results.held():
        hits = results[(page - 1) * size : page * size].hits(with_rows=True)
        count = results.count()
        facets = {key: results.facet(key) for key in asked.get("facets", ())}
    shown = [shown_as(hit) for hit in hits]
    return {"count": count, "page": page, "page_size": size, "facets": facets, "results": shown}


def shown_as(hit: Hit) -> dict[str, Any]:
    return {name: getattr(hit, name) for name in FIELDS}


def is_indexed(document: Document, product_id: str) -> bool:
    """Say whether the index has, or is about to have, a product of that id."""
    entries = IndexEntry.objects.of(document).filter(uuid=document.point_id(product_id))
    return entries.exclude(state=IndexEntry.State.REMOVED).exists()
