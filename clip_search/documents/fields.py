"""The types of the filters in `filter_fields`: `Keyword`, `Number`, `Bool` and `Date`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Literal

from django.utils import timezone

from . import paths

Kind = Literal["keyword", "number", "bool", "date"]

RESERVED_KEYS = frozenset(
    {"_clip", "metadata", "name", "description"}
    | {"q", "image_file", "facets", "page", "page_size", "min_score"}
    | {"text", "product", "document", "limit", "everything", "order_by", "relevance", "_terms", "_labels"}
)
"""Names that no filter may have: payloads, endpoints or template tags use them for something else."""

LABELS = "_labels"
"""The reserved payload key under which a point keeps, for each filter with labels, its values with labels.

Each value is joined with its label into one string, so that one facet of the store counts and names them."""
BETWEEN = "\x1f"
"""Stands between a value and its label. It is the control character that ASCII has for this purpose."""
MAX_LEVELS = 32
"""The deepest path in a tree: all paths above it are stored too."""


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

    kind: ClassVar[Kind]
    label_paths: tuple[str, ...] = ()
    """The paths to the labels of the values, as many as `paths`. Only a `Keyword` may have them."""

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
    def source(self) -> str:
        """The source of the value for error messages: the paths, or the name of the function."""
        return ", ".join(self.paths) or getattr(self.from_, "__name__", "from_")

    def coerce(self, value: Any) -> Any:
        """Return the value as the JSON value that is stored. Raises ValueError if it has the wrong type."""
        raise NotImplementedError

    def read(self, obj: Any) -> Any:
        """Return the filter's value for a row, or None if the row has no value.

        Return a list if there may be several values, and an InvalidValue if one has the wrong type.
        """
        if self.from_ is not None:
            given = self.from_(obj)
            many = isinstance(given, paths.LISTS)
            found = [value for value in (given if many else [given]) if value is not None]
        elif len(self.paths) == 1:
            (path,) = self.paths
            many, found = paths.crosses_many(obj.__class__, path), paths.values(obj, path)
        else:
            many, found = True, [value for path in self.paths for value in paths.values(obj, path)]
        try:
            return self.stored(found, many=many) if found else None
        except (ValueError, TypeError, ArithmeticError) as error:
            return InvalidValue(f"{self.source}: {error}")

    def stored(self, values: Iterable[Any], *, many: bool) -> Any:
        """Return the JSON value that is stored for these values: a list if there may be several (`many`).

        Raises ValueError if one of them has the wrong type.
        """
        coerced = [self.coerce(value) for value in values]
        return coerced if many or len(coerced) > 1 else coerced[0]


class Keyword(FilterField):
    """A string that is compared as a whole, such as a slug.

    With a `separator`, each value is a path in a tree, such as "Home > Kitchen > Mugs". The paths above it
    are stored too, so the product is also found and counted in "Home > Kitchen" and in "Home". The parts are
    stripped, and empty parts are left out: "home/kitchen/" is "home/kitchen". A path has at most 32 parts.

    `label` is the path to the text that facets show for a value, such as "category.name" for the value
    "category.slug". If there are several paths, `label` has one for each. In a tree, a label with the same
    separator and as many parts as the value names all levels; any other label names the last one. Without a
    label, facets show the value, and in a tree its last part.
    """

    kind = "keyword"

    def __init__(
        self,
        path: str | Sequence[str] = (),
        *,
        from_: Callable[[Any], Any] | None = None,
        reads: Sequence[str] | None = None,
        separator: str = "",
        label: str | Sequence[str] = (),
    ) -> None:
        super().__init__(path, from_=from_, reads=reads)
        self.separator = separator
        self.label_paths = (label,) if isinstance(label, str) else tuple(label)
        if self.label_paths and len(self.label_paths) != len(self.paths):
            raise TypeError("Keyword needs one label for each path. With from_, it can have no label.")

    def coerce(self, value: Any) -> str:
        if not self.separator:
            return str(value)
        parts = self._parts(str(value))
        if len(parts) > MAX_LEVELS:
            raise ValueError(f"{value!r:.99} has more than {MAX_LEVELS} levels")
        return self.separator.join(parts)

    def stored(self, values: Iterable[Any], *, many: bool) -> Any:
        if not self.separator:
            return super().stored(values, many=many)
        return list(dict.fromkeys(level for value in values for level in self.levels(self.coerce(value))))

    def levels(self, value: str) -> list[str]:
        """Return the paths from the root of the tree to this value. Without a separator: the value alone."""
        if not self.separator:
            return [value]
        parts = self._parts(value)
        return [self.separator.join(parts[: end + 1]) for end in range(len(parts))]

    def last_part(self, value: str) -> str:
        """Return the last part of a path in a tree. Without a separator: the value."""
        return value.rpartition(self.separator)[2] if self.separator else value

    def _parts(self, value: str) -> list[str]:
        return [part for part in map(str.strip, value.split(self.separator)) if part]

    def labels(self, obj: Any) -> dict[str, str]:
        """Return {value: label} for the values of a row that have a label."""
        found: dict[str, str] = {}
        for path, label_path in zip(self.paths, self.label_paths, strict=True):
            common, value_end, label_end = _split(path, label_path)
            # value and label are read from the same object, so those of several objects cannot be mixed up
            for item in paths.values(obj, common) if common else [obj]:
                ends = paths.values(item, value_end), paths.values(item, label_end)
                for value, label in zip(*ends, strict=False):
                    levels, text = self.levels(self.coerce(value)), str(label)
                    names = self._parts(text) if self.separator else [text]
                    if len(names) != len(levels):  # the label names the last level only
                        levels, names = levels[-1:], [text]
                    found |= zip(levels, names, strict=False)
        return found


def _split(path: str, label_path: str) -> tuple[str, str, str]:
    """Return the relations with which both paths begin, and the rest of each path."""
    names, label_names = path.split("."), label_path.split(".")
    common = 0
    while common < min(len(names), len(label_names)) - 1 and names[common] == label_names[common]:
        common += 1
    return ".".join(names[:common]), ".".join(names[common:]), ".".join(label_names[common:])


def index_kinds(fields: Mapping[str, FilterField]) -> dict[str, Kind]:
    """Return {payload key: kind} for all payload indexes that these filters need."""
    labels: dict[str, Kind] = {
        f"{LABELS}.{key}": "keyword" for key, field in fields.items() if field.label_paths
    }
    return {key: field.kind for key, field in fields.items()} | labels


def labelled(
    fields: Mapping[str, FilterField], payload: Mapping[str, Any], obj: Any = None
) -> dict[str, list[str]]:
    """Return what is stored under `LABELS` for a payload: the values of filters with labels, with these.

    The labels are read from the row `obj`. Values without a label have an empty one, so that facets count
    them.
    """
    found = {}
    for key, field in fields.items():
        values = payload.get(key)
        if isinstance(field, Keyword) and field.label_paths and values is not None:
            labels = field.labels(obj) if obj is not None else {}
            found[key] = [
                f"{value}{BETWEEN}{labels.get(value, '').replace(BETWEEN, ' ')}"
                for value in (values if isinstance(values, paths.LISTS) else [values])
            ]
    return found


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
