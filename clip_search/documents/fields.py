"""The types of filter that a document declares: `Keyword`, `Number`, `Bool` and `Date`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Literal

from django.utils import timezone

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
    """A date, a datetime, or either as an ISO 8601 string. Stored as an RFC 3339 string in UTC.

    A naive datetime is in `TIME_ZONE`, as the ORM saves it, whatever time zone a request has activated. A
    plain date is stored as its midnight there. In a filter it stands for the whole day: `lte` and `gt`
    compare with its end, `gte` and `lt` with its beginning, and equality and `in` match every moment of it.
    """

    kind = "date"

    def coerce(self, value: Any) -> str:
        return self.bounds(value)[0].isoformat()

    def bounds(self, value: Any) -> tuple[datetime.datetime, datetime.datetime]:
        """Return the first and the last moment of a value in UTC; they differ for a plain date.

        Raises ValueError.
        """
        if isinstance(value, str):
            value = _from_iso(value)
        if not isinstance(value, datetime.date):
            raise ValueError(f"{value!r} is not a date")
        zone = timezone.get_default_timezone()
        if isinstance(value, datetime.datetime):
            first = last = value if value.tzinfo else value.replace(tzinfo=zone)
        else:
            first = datetime.datetime.combine(value, datetime.time.min, zone)
            last = datetime.datetime.combine(value, datetime.time.max, zone)
        return _in_utc(first), _in_utc(last)


def _in_utc(moment: datetime.datetime) -> datetime.datetime:
    try:
        return moment.astimezone(datetime.UTC)
    except OverflowError as error:
        if moment.tzinfo is timezone.get_default_timezone():  # the first or last day that there is
            return moment.replace(tzinfo=datetime.UTC)
        raise ValueError(f"{moment!r} has no date in UTC") from error


def _from_iso(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return datetime.datetime.fromisoformat(text)
