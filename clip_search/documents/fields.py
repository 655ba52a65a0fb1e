"""The types of the filters in `filter_fields`: `Keyword`, `Number`, `Bool` and `Date`."""

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
    | {"text", "product", "document", "limit", "everything", "order_by", "relevance", "_terms"}
)
"""Names that no filter may have: payloads, endpoints or template tags use them for something else."""


class InvalidValue:
    """Takes the place of a payload value that does not fit its filter.

    The product is indexed without this value.
    """

    def __init__(self, message: str) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"InvalidValue({self.message!r})"


class FilterField:
    """A value of a product that searches can filter by.

    The value is read from an attribute path such as "category.slug", from several paths, or by the function
    `from_`, which gets the row and returns a value or a list of values. `reads` lists the paths that this
    function reads. Without `reads`, every save of a product schedules its indexing, because the function may
    read any field.
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
            raise TypeError(f"{type(self).__name__} needs either one or more paths, or from_.")

    def __repr__(self) -> str:
        source = self.paths[0] if len(self.paths) == 1 else [*self.paths] or self.from_
        return f"{type(self).__name__}({source!r})"

    @property
    def label(self) -> str:
        """The source of the value for error messages: the paths, or the name of the function."""
        return ", ".join(self.paths) or getattr(self.from_, "__name__", "from_")

    def coerce(self, value: Any) -> Any:
        """Return the value as the JSON value that is stored. Raises ValueError if it has the wrong type."""
        raise NotImplementedError

    def read(self, obj: Any) -> Any:
        """Return the filter's value for a row, or None if the row has no value.

        Return a list if there may be several values, and an InvalidValue if one has the wrong type.
        """
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
    """A string that is compared as a whole, such as a slug."""

    kind = "keyword"

    def coerce(self, value: Any) -> str:
        return str(value)


class Number(FilterField):
    """An int, float, Decimal or numeric string. It is stored and compared as a float."""

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
    """True or False. The strings "true", "false", "1" and "0" are accepted too, in upper or lower case."""

    kind = "bool"
    _words: ClassVar[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}

    def coerce(self, value: Any) -> bool:
        if isinstance(value, str):
            if value.lower() not in self._words:
                raise ValueError(f"{value!r} is not true or false")
            return self._words[value.lower()]
        return bool(value)


class Date(FilterField):
    """A date, a datetime, or an ISO 8601 string of either. It is stored as an ISO 8601 string in UTC.

    A naive datetime is read in the `TIME_ZONE` of the settings, not in the time zone activated for the
    request. A plain date is stored as 00:00 of that day in `TIME_ZONE`. In a search, a plain date means the
    whole day: `gte` and `lt` use its first moment, `lte` and `gt` its last moment, and equality and `in`
    match any time on that day.
    """

    kind = "date"

    def coerce(self, value: Any) -> str:
        return self.bounds(value)[0].isoformat()

    def bounds(self, value: Any) -> tuple[datetime.datetime, datetime.datetime]:
        """Return the first and the last moment of a value, in UTC.

        For a plain date these are the start and the end of the day; for a datetime both are the same. Raises
        ValueError if the value is not a date.
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
        if moment.tzinfo is timezone.get_default_timezone():  # near datetime.min or datetime.max: not shifted
            return moment.replace(tzinfo=datetime.UTC)
        raise ValueError(f"{moment!r} is outside the range of dates in UTC") from error


def _from_iso(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return datetime.datetime.fromisoformat(text)
