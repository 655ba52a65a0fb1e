"""Django-style lookups on the declared filters → conditions of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Model

from ..documents import Bool, Document, FilterField
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
LOOKUPS: Final[Mapping[str, Sequence[str]]] = {
    "keyword": ("exact", "in", "isnull"),
    "number": ("exact", "in", "isnull", "gt", "gte", "lt", "lte"),
    "bool": ("exact", "isnull"),
    "date": ("exact", "in", "isnull", "gt", "gte", "lt", "lte"),
}
"""What each kind of filter can be asked."""
LOOKUP_NOTES: Final[Mapping[str, str]] = {
    "exact": "Equal to this.",
    "in": "Equal to one of these.",
    "gt": "Greater than this, or later.",
    "gte": "This, greater or later.",
    "lt": "Less than this, or earlier.",
    "lte": "This, less or earlier.",
    "isnull": "Whether there is no value.",
}
COLLECTIONS: Final = (list, tuple, set, frozenset, dict)


def parse_filters(document: Document, filters: Filters | None) -> list[Condition]:
    """Turn `{"price__lte": 20}` into conditions. Raises UnknownFilter, which lists what there is."""
    return [_condition(document, name, value) for name, value in (filters or {}).items()]


def lookups(document: Document) -> dict[str, tuple[FilterField, str]]:
    """Return every filter that may be asked for, "price__lte" and so on, each with its field and lookup."""
    return {
        key if lookup == "exact" else f"{key}__{lookup}": (field, lookup)
        for key, field in document.filter_fields.items()
        for lookup in LOOKUPS[field.kind]
    }


def keyword_fields(document: Document) -> list[str]:
    """Return the filters whose values can be counted."""
    return sorted(key for key, field in document.filter_fields.items() if field.kind == "keyword")


def _condition(document: Document, name: str, value: Any) -> Condition:
    key, lookup = _split(document, name)
    field = document.filter_fields[key]
    if lookup not in LOOKUPS[field.kind]:
        known = ", ".join(LOOKUPS[field.kind])
        raise UnknownFilter(f"{key!r} is a {field.kind} and has no lookup {lookup!r}. There are: {known}.")
    try:
        return Condition(key=key, operator=OPERATORS[lookup], value=_value(field, lookup, value))
    except (TypeError, ValueError, OverflowError) as error:
        raise BadFilterValue(f"{name!r} cannot be filtered by {value!r:.200}: {error}") from error


def _split(document: Document, name: str) -> tuple[str, str]:
    """Return a filter's key and lookup. Raises UnknownFilter where no filter has the key."""
    if name in document.filter_fields:
        return name, "exact"
    key, _, lookup = name.rpartition("__")
    if key in document.filter_fields:
        return key, lookup
    known = ", ".join(sorted(document.filter_fields)) or "none"
    raise UnknownFilter(f"{document.name!r} declares no filter {key or name!r}. There are: {known}.")


def _value(field: FilterField, lookup: str, value: Any) -> Any:
    """Return the value as the engine compares it. Raises TypeError, ValueError."""
    if lookup == "isnull":
        return Bool(field.path).coerce(value)
    if lookup != "in":
        return _scalar(field, value)
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError("give a list of values")
    return [_scalar(field, item) for item in value]


def _scalar(field: FilterField, value: Any) -> Any:
    """Coerce one value, refusing what `str()` or `bool()` would make something of that nobody meant."""
    if value is None:
        raise ValueError("for what is missing, use the lookup isnull")
    if isinstance(value, COLLECTIONS):
        raise TypeError("for several values, use the lookup in")
    if isinstance(value, Model):
        raise TypeError(f"give the value that {field.path!r} has, not the object")
    coerced = field.coerce(value)
    if field.kind == "date":
        return datetime.fromisoformat(coerced)  # a string would be compared as a keyword
    if isinstance(coerced, str):
        coerced.encode()  # half a surrogate pair has no place in a request
    return coerced
