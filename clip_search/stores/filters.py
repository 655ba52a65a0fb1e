"""Turns conditions into filters for Qdrant's server and for its embedded engine."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from .base import CLIP, TERMS, Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The classes and functions of one engine, under names that are the same for both engines.

    `models` is a module with the classes whose names are the same in both: Filter, FieldCondition, MatchAny,
    SparseVector.
    """

    models: Any
    point: Callable[..., Any]
    upsert: Callable[[list[Any], Any], Any]
    """(points, filter) → an operation that writes new points, and replaces points that meet the filter."""
    delete: Callable[[Any], Any]
    """(filter) → an operation that deletes the points that meet the filter."""
    match: Callable[[bool | str], Any]
    numbers: Callable[..., Any]
    dates: Callable[..., Any]
    has_id: Callable[[Sequence[uuid.UUID]], Any]
    has_vector: Callable[[str], Any]
    only: Callable[[list[str]], Any]
    """(payload keys) → a selector that reads these keys."""
    without: Callable[[list[str]], Any]
    """(payload keys) → a selector that reads all other keys."""


def instant(value: str | date) -> datetime:
    """Return an ISO string, date or datetime as an aware datetime. Without a time zone, it is read as UTC.

    Raises ValueError if a string is not an ISO date or time.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def matching(dialect: Dialect, conditions: Sequence[Condition], *, alive: bool = False) -> Any:
    """Return a filter for points that meet all conditions, or None if every point does.

    `alive` leaves tombstones out.
    """
    must: list[Any] = []
    must_not: list[Any] = []
    for condition in conditions:
        # "is not null" becomes the opposite of "is null"
        negated = condition.negated != (condition.operator == "isnull" and not condition.value)
        (must_not if negated else must).append(_test(dialect, condition))
        must_not += [
            _equals(dialect, f"{CLIP}.invalid", key)
            for key in _keys(condition)
            if condition.negated or condition.operator == "isnull"
        ]
    if alive:
        must_not.append(_equals(dialect, f"{CLIP}.removed", True))
    if not must and not must_not:
        return None
    return dialect.models.Filter(must=must or None, must_not=must_not or None)


def older(dialect: Dialect, revision: int, *, or_equal: bool = False) -> Any:
    """Return a filter for stored points with a lower revision, which a write may replace."""
    operator = "lte" if or_equal else "lt"
    return dialect.models.Filter(must=[_range(dialect, f"{CLIP}.revision", **{operator: revision})])


def tombstones(dialect: Dialect, ids: Sequence[uuid.UUID]) -> Any:
    """Return a filter for those of `ids` that are tombstones."""
    return dialect.models.Filter(must=[dialect.has_id(ids), _equals(dialect, f"{CLIP}.removed", True)])


def without_stamp(dialect: Dialect) -> Any:
    """Return a filter for points that were not written by clip_search."""
    missing = dialect.models.FieldCondition(key=f"{CLIP}.revision", is_empty=True)
    return dialect.models.Filter(must=[missing])


def _keys(condition: Condition) -> Iterator[str]:
    """Yield the keys of the document's payload that a condition uses, nested conditions included."""
    if condition.operator in ("all", "any"):
        for one in condition.value:
            yield from _keys(one)
    elif condition.operator not in ("has_vector", "id") and not condition.key.startswith((CLIP, TERMS)):
        yield condition.key


def _test(dialect: Dialect, condition: Condition) -> Any:
    key, operator, value = condition.key, condition.operator, condition.value
    if operator == "all":
        return matching(dialect, value) or dialect.models.Filter()
    if operator == "any":  # an empty `should` would match every point
        tests = [matching(dialect, [one]) for one in value]
        return dialect.models.Filter(should=tests) if tests else dialect.has_id([])
    if operator == "range":
        return _range(dialect, key, gte=value[0], lte=value[1])
    if operator == "isnull":
        return dialect.models.FieldCondition(key=key, is_empty=True)
    if operator == "has_vector":
        return dialect.has_vector(key)
    if operator == "id":
        return dialect.has_id(value)
    if operator == "eq":
        return _equals(dialect, key, value)
    if operator == "in":
        return _any_of(dialect, key, value)
    return _range(dialect, key, **{operator: value})


def _equals(dialect: Dialect, key: str, value: Any) -> Any:
    if isinstance(value, bool | str):
        return dialect.models.FieldCondition(key=key, match=dialect.match(value))
    # for Qdrant's `match`, 5 does not equal 5.0; for a range it does
    return _range(dialect, key, gte=value, lte=value)


def _any_of(dialect: Dialect, key: str, values: Sequence[Any]) -> Any:
    if not values:
        return dialect.has_id([])  # matches no point; an empty `should` would match every point
    if all(isinstance(value, str) for value in values):
        return dialect.models.FieldCondition(key=key, match=dialect.models.MatchAny(any=list(values)))
    return dialect.models.Filter(should=[_equals(dialect, key, value) for value in values])


def _range(dialect: Dialect, key: str, **bounds: Any) -> Any:
    if any(isinstance(bound, str | date) for bound in bounds.values()):
        dates = {operator: instant(bound).isoformat() for operator, bound in bounds.items()}
        return dialect.models.FieldCondition(key=key, range=dialect.dates(**dates))
    numbers = {operator: float(bound) for operator, bound in bounds.items()}
    return dialect.models.FieldCondition(key=key, range=dialect.numbers(**numbers))
