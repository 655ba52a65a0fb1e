"""The types of filter that a document declares: `Keyword`, `Number`, `Bool` and `Date`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Literal

RESERVED_KEYS = frozenset(
    {"_clip", "metadata", "name", "description"}
    | {"q", "image_file", "facets", "page", "page_size", "min_score"}
    | {"text", "product", "document", "limit"}
)
"""Keys that no filter can have: keys of payloads, and parameters of the endpoints and template tags."""


class FilterField:
    """A payload value to filter by, read from a path of attributes such as "category.slug"."""

    kind: ClassVar[Literal["keyword", "number", "bool", "date"]]

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def coerce(self, value: Any) -> Any:
        """Return the value as it is stored in JSON. Raises ValueError if it does not fit."""
        raise NotImplementedError


class Keyword(FilterField):
    """An exact string, such as a slug."""

    kind = "keyword"

    def coerce(self, value: Any) -> str:
        return str(value)


class Number(FilterField):
    """An int, float or Decimal, compared as a float64."""

    kind = "number"

    def coerce(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            raise ValueError(f"{value!r} is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"{value!r} is not a finite number")
        return number


class Bool(FilterField):
    """True or False. The strings "true", "false", "1" and "0" are accepted too."""

    kind = "bool"
    _words: ClassVar[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}

    def coerce(self, value: Any) -> bool:
        if isinstance(value, str):
            if value.lower() not in self._words:
                raise ValueError(f"{value!r} is not true or false")
            return self._words[value.lower()]
        return bool(value)


class Date(FilterField):
    """A date, a datetime, or either as an ISO 8601 string. A naive value is taken as UTC.

    Stored as an RFC 3339 string in UTC.
    """

    kind = "date"

    def coerce(self, value: Any) -> str:
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        if not isinstance(value, datetime.date):
            raise ValueError(f"{value!r} is not a date")
        if not isinstance(value, datetime.datetime):
            value = datetime.datetime.combine(value, datetime.time())
        aware: datetime.datetime = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        try:
            return aware.astimezone(datetime.UTC).isoformat()
        except OverflowError as error:
            raise ValueError(f"{value!r} has no date in UTC") from error
