"""Count products by ranges of numbers and by days, months or years: Qdrant has no facets of these."""

from __future__ import annotations

import datetime
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, cast

from django.utils import formats, timezone
from django.utils.translation import gettext

from ..documents.fields import Date
from ..stores.base import Condition
from ..stores.filters import instant
from ..types import Facet, FacetValue

PERIODS: Final = ("day", "month", "year")
RANGES: Final = 6
"""How many ranges a facet of numbers has at most if no bounds are given."""


def numbers(
    products: Sequence[Sequence[Any]], own: Sequence[Condition], bounds: Sequence[float] | None
) -> Facet:
    """Count products by ranges of numbers. `products` has the values of each, `bounds` the sorted bounds.

    A product counts once in each range. `own` are the conditions by which the search is filtered on this key.
    """
    found = [[float(value) for value in values if _is_number(value)] for values in products]
    every = [number for values in found for number in values]
    bounds = nice_bounds(every) if bounds is None else bounds
    counts = Counter(rank for values in found for rank in {bisect_right(bounds, value) for value in values})
    ends = [None, *bounds, None]
    chosen = _chosen_ranges(own)
    values = [
        FacetValue(
            value=start,
            label=_range_label(start, end),
            count=counts[rank],
            chosen=(start, end) in chosen,
            start=start,
            end=end,
        )
        for rank, (start, end) in enumerate(pairwise(ends))
        if bounds and (counts[rank] or (start, end) in chosen)
    ]
    return Facet(values, minimum=min(every, default=None), maximum=max(every, default=None))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def nice_bounds(numbers: Sequence[float]) -> list[float]:
    """Return bounds of at most `RANGES` ranges with about as many numbers in each, rounded to be read easily.

    They are multiples of 1, 2 or 5 of a power of ten. Return [] if all numbers are equal.
    """
    if not numbers:
        return []
    ordered = sorted(numbers)
    low, high = ordered[0], ordered[-1]
    marks = [ordered[len(ordered) * part // RANGES] for part in range(1, RANGES)]
    if marks[0] == marks[-1]:  # most numbers are equal: ranges of equal width
        marks = [low + (high - low) * part / RANGES for part in range(1, RANGES)]
    width = (marks[-1] - marks[0]) / RANGES
    if not 0 < width < math.inf:
        return []
    power = math.floor(math.log10(width))
    unit = max((step * 10.0**power for step in (1, 2, 5) if step * 10.0**power <= width), default=0.0)
    if not unit:  # differences that a float can barely hold
        return []
    bounds = {round(round(mark / unit) * unit, max(-power, 0)) for mark in marks}
    return sorted(bound for bound in bounds if low < bound <= high)


def _range_label(start: float | None, end: float | None) -> str:
    low, high = (None if bound is None else _number_label(bound) for bound in (start, end))
    if low is None:
        return gettext("under %(number)s") % {"number": high}
    if high is None:
        return gettext("%(number)s and more") % {"number": low}
    return f"{low}–{high}"


def _number_label(number: float) -> str:
    return formats.number_format(int(number) if number.is_integer() else number)


def dates(
    field: Date, products: Sequence[Sequence[Any]], own: Sequence[Condition], period: str | None
) -> Facet:
    """Count products by days, months or years, the latest first. `products` has the values of each.

    A product counts once in each period. `own` are the conditions by which the search is filtered on this
    key. Without a period, it depends on how far the dates are apart.
    """
    moments = [[moment for value in values if (moment := _moment(value))] for values in products]
    every = [moment for values in moments for moment in values]
    first, last = min(every, default=None), max(every, default=None)
    if period is None:
        days = (last - first).days if first and last else 0
        period = "day" if days <= 31 else "month" if days <= 3 * 366 else "year"
    counts = Counter(
        start for values in moments for start in {_start(moment.date(), period) for moment in values}
    )
    chosen = _chosen_ranges(own)
    for start, _ in chosen:
        if start is not None:
            counts.setdefault(_start(_local(start).date(), period), 0)
    values = []
    for start in sorted(counts, reverse=True):
        end = _end(start, period)
        span = (field.bounds(start)[0], None if end is None else field.bounds(end)[0])
        value = FacetValue(
            value=start,
            label=_date_label(start, period),
            count=counts[start],
            chosen=span in chosen,
            start=start,
            end=end,
        )
        if value.count or value.chosen:
            values.append(value)
    return Facet(values, minimum=first, maximum=last)


def _moment(value: Any) -> datetime.datetime | None:
    """Return a stored date in `TIME_ZONE`, or None if the value is not a date."""
    try:
        return _local(instant(value))
    except (TypeError, ValueError):
        return None


def _local(moment: datetime.datetime) -> datetime.datetime:
    try:
        return moment.astimezone(timezone.get_default_timezone())
    except OverflowError:  # near datetime.min or datetime.max
        return moment


def _start(day: datetime.date, period: str) -> datetime.date:
    if period == "day":
        return day
    return day.replace(day=1) if period == "month" else day.replace(month=1, day=1)


def _end(start: datetime.date, period: str) -> datetime.date | None:
    """Return the day after a period, or None if it is after the last day that Python knows."""
    try:
        if period == "day":
            return start + datetime.timedelta(days=1)
        if period == "year":
            return start.replace(year=start.year + 1)
        return (start + datetime.timedelta(days=31)).replace(day=1)
    except (OverflowError, ValueError):
        return None


def _date_label(start: datetime.date, period: str) -> str:
    if period == "year":
        return str(start.year)
    return formats.date_format(start, "DATE_FORMAT" if period == "day" else "YEAR_MONTH_FORMAT")


def _chosen_ranges(own: Sequence[Condition]) -> set[tuple[Any, Any]]:
    """Return the ranges that conditions on one filter choose: its start, and the end that is not in it.

    None stands for an open start or end. A condition for a whole day is a range too.
    """
    limits = {each.operator: each.value for each in own if each.operator in ("gte", "lt")}
    chosen = {(limits.get("gte"), limits.get("lt"))} if limits else set()
    alternatives = [one for each in own for one in (each.value if each.operator == "any" else [each])]
    for each in alternatives:
        if each.operator == "range":
            first, last = cast("tuple[datetime.datetime, datetime.datetime]", each.value)
            chosen.add((first, last + datetime.timedelta(microseconds=1)))
    return chosen
