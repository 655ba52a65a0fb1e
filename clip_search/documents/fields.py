"""The types of filter that a document declares: `Keyword`, `Number`, `Bool` and `Date`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Literal

from django.utils import timezone

from . import paths

RESERVED_KEYS = frozenset(
    {"_clip", "metadata", "name", "description"}
    | {"q", "image_file", "facets", "page", "page_size", "min_score"}
    | {"text", "product", "document", "limit"}
)
"""Keys that no filter can have: keys of payloads, and parameters of the endpoints and template tags."""


class InvalidValue:
    """Stands in a payload for a value that does not fit its filter: the product is indexed without it."""

    def __init__(self, message: str) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"InvalidValue({self.message!r})"


class FilterField:
    """A payload value to filter by.

    It is read from a path of attributes such as "category.slug", from several paths, or by a function:
    `from_` gets the row and returns a value or a list of values. `reads` are the paths that this function
    reads, beside those that are declared elsewhere: without it, a save of any column counts as a change.
    """

    kind: ClassVar[Literal["keyword", "number", "bool", "date"]]

    def __init__(
        self,
        path: str | Sequence[str] = (),
        *,
        from_: Callable[[Any], Any] | None = None,
        reads: Sequence[str] | None = None,
    ) -> None:
        self.paths = (path,) if isinstance(path, str) else tuple(path)
        self.from_ = from_
        self.reads = reads
        if bool(self.paths) == (from_ is not None):
            raise TypeError(f"{type(self).__name__} needs either a path, several paths, or from_.")

    def __repr__(self) -> str:
        source = self.paths[0] if len(self.paths) == 1 else [*self.paths] or self.from_
        return f"{type(self).__name__}({source!r})"

    @property
    def label(self) -> str:
        """Where the values come from, for messages."""
        return ", ".join(self.paths) or getattr(self.from_, "__name__", "from_")

    def coerce(self, value: Any) -> Any:
        """Return the value as it is stored in JSON. Raises ValueError if it does not fit."""
        raise NotImplementedError

    def read(self, obj: Any) -> Any:
        """Return a row's value, a list if there may be several, an InvalidValue, or None if there is none."""
        model: Any = obj.__class__
        many = len(self.paths) > 1 or any(paths.crosses_many(model, path) for path in self.paths)
        found = [value for path in self.paths for value in paths.values(obj, path)]
        if self.from_ is not None:
            given = self.from_(obj)
            many = isinstance(given, paths.LISTS)
            found = [value for value in (given if many else [given]) if value is not None]
        try:
            values = [self.coerce(value) for value in found]
        except (ValueError, TypeError, ArithmeticError) as error:
            return InvalidValue(f"{self.label}: {error}")
        return (values if many or len(values) > 1 else values[0]) if values else None


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
