"""Turn Django-style lookups on a document's filters, such as `price__lte=20`, into the store's conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from django.db.models import Model

from ..documents.binding import BoundDocument
from ..documents.fields import Bool, Date, FilterField
from ..exceptions import BadFilterValue, UnknownFilter
from ..stores.base import Condition, Operator

Filters = Mapping[str, Any]

OPERATORS: Final[Mapping[str, Operator]] = {
    "exact": "eq",
    "in": "in",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
    "isnull": "isnull",
}
"""The store's operator for each lookup."""
LOOKUPS: Final[Mapping[str, Sequence[str]]] = {
    "keyword": ("exact", "in", "isnull"),
    "number": ("exact", "in", "isnull", "gt", "gte", "lt", "lte"),
    "bool": ("exact", "isnull"),
    "date": ("exact", "in", "isnull", "gt", "gte", "lt", "lte"),
}
"""The lookups that each kind of filter accepts."""
LOOKUP_NOTES: Final[Mapping[str, str]] = {
    "exact": "Equal to this.",
    "in": "Equal to one of these.",
    "gt": "Greater than this, or later.",
    "gte": "This, greater or later.",
    "lt": "Less than this, or earlier.",
    "lte": "This, less or earlier.",
    "isnull": "True finds products without a value, false those that have one.",
}
"""The description of each lookup in the OpenAPI schema."""
CONTAINERS: Final = (list, tuple, set, frozenset, dict)


def parse_filters(document: BoundDocument, filters: Filters | None) -> list[Condition]:
    """Return filters such as `{"price__lte": 20}` as conditions. Raises UnknownFilter, BadFilterValue."""
    return [_condition(document, name, value) for name, value in (filters or {}).items()]


def parse_exclusion(document: BoundDocument, filters: Filters) -> list[Condition]:
    """Return conditions that leave out the products that meet all of these filters.

    Raises UnknownFilter, BadFilterValue.
    """
    conditions = parse_filters(document, filters)
    if len(conditions) < 2:
        return [replace(condition, negated=not condition.negated) for condition in conditions]
    return [Condition(key="", operator="all", value=conditions, negated=True)]


def lookups(document: BoundDocument) -> dict[str, tuple[FilterField, str]]:
    """Return all names that `filter()` accepts, such as "price__lte", each with its field and lookup."""
    return {
        key if lookup == "exact" else f"{key}__{lookup}": (field, lookup)
        for key, field in document.declaration.filter_fields.items()
        for lookup in LOOKUPS[field.kind]
    }


def filter_field(document: BoundDocument, key: str) -> FilterField:
    """Return the filter with this name. Raises UnknownFilter, which lists the known ones."""
    fields = document.declaration.filter_fields
    if key not in fields:
        known = ", ".join(sorted(fields)) or "none"
        raise UnknownFilter(f"{document.name!r} declares no filter {key!r}. Its filters: {known}.")
    return fields[key]


def _condition(document: BoundDocument, name: str, value: Any) -> Condition:
    """Return the condition for one filter: `name` is "price" or "price__lte", for example."""
    fields = document.declaration.filter_fields
    key, lookup = (name, "exact") if name in fields else name.rpartition("__")[::2]
    field = filter_field(document, key or name)
    wanted: Any
    if lookup not in LOOKUPS[field.kind]:
        known = ", ".join(LOOKUPS[field.kind])
        raise UnknownFilter(f"{key!r} is a {field.kind} and has no lookup {lookup!r}. Its lookups: {known}.")
    try:
        if lookup == "isnull":
            wanted = Bool(key).coerce(value)
        elif isinstance(field, Date) and lookup != "in":
            return _date_condition(key, field, lookup, value)
        elif lookup != "in":
            wanted = _scalar(field, value)
        elif isinstance(value, str | bytes) or not isinstance(value, Iterable):
            raise TypeError("give a list of values")
        elif isinstance(field, Date):
            days = [_date_condition(key, field, "exact", item) for item in value]
            return Condition(key=key, operator="any", value=days)
        else:
            wanted = [_scalar(field, item) for item in value]
        return Condition(key=key, operator=OPERATORS[lookup], value=wanted)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadFilterValue(f"The filter {name!r} does not accept {value!r:.200}: {error}") from error


def _date_condition(key: str, field: Date, lookup: str, value: Any) -> Condition:
    """Return the condition for a `Date` filter; a value without a time means the whole day.

    Raises TypeError, ValueError.
    """
    first, last = _scalar(field, value)
    if lookup == "exact":
        return Condition(key=key, operator="range", value=(first, last))
    return Condition(key=key, operator=OPERATORS[lookup], value=last if lookup in ("lte", "gt") else first)


def _scalar(field: FilterField, value: Any) -> Any:
    """Return one filter value as the filter's field converts it; for a `Date`, its first and last moment.

    Raises TypeError or ValueError for a value that does not fit. None, lists and model instances are refused
    too, although `str()` accepts them: a search for the word "None" would find nothing, for example.
    """
    if value is None:
        raise ValueError("to find missing values, use the lookup isnull")
    if isinstance(value, CONTAINERS):
        raise TypeError("for several values, use the lookup in")
    if isinstance(value, Model):
        raise TypeError(f"give the value of {field.source!r}, not the object")
    if isinstance(field, Date):
        return field.bounds(value)
    coerced = field.coerce(value)
    if isinstance(coerced, str):
        coerced.encode()  # raises ValueError for half a surrogate pair, which cannot be sent to Qdrant
    return coerced
