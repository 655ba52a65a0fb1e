"""Conditions and fences as filters of Qdrant, whichever of its engines runs them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from .base import CLIP, Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one engine calls the same things.

    `models` has what both call alike: Filter, FieldCondition and MatchAny.
    """

    models: Any
    point: Callable[..., Any]
    match: Callable[[bool | str], Any]
    numbers: Callable[..., Any]
    dates: Callable[..., Any]
    has_id: Callable[[Sequence[uuid.UUID]], Any]
    has_vector: Callable[[str], Any]


def instant(value: str | date) -> datetime:
    """Read an ISO string, date or datetime; what names no time zone is UTC. Raises ValueError."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def matching(
    dialect: Dialect,
    conditions: Sequence[Condition],
    *,
    without: Sequence[uuid.UUID] = (),
    alive: bool = False,
) -> Any:
    """Return the filter of all conditions, None where there is nothing to filter.

    `alive` leaves tombstones out.
    """
    must = [_test(dialect, condition) for condition in conditions if not _negative(condition)]
    must_not = [_test(dialect, condition) for condition in conditions if _negative(condition)]
    if without:
        must_not.append(dialect.has_id(without))
    if alive:
        must_not.append(_equals(dialect, f"{CLIP}.removed", True))
    if not must and not must_not:
        return None
    return dialect.models.Filter(must=must or None, must_not=must_not or None)


def older(dialect: Dialect, revision: int, *, or_equal: bool = False) -> Any:
    """Return the fence of a write: it may replace what has a lower revision."""
    operator = "lte" if or_equal else "lt"
    return dialect.models.Filter(must=[_range(dialect, f"{CLIP}.revision", **{operator: revision})])


def tombstones(dialect: Dialect, ids: Sequence[uuid.UUID]) -> Any:
    """Return the filter of those of `ids` that are tombstones."""
    return dialect.models.Filter(must=[dialect.has_id(ids), _equals(dialect, f"{CLIP}.removed", True)])


def _negative(condition: Condition) -> bool:
    asks_for_a_value = condition.operator == "isnull" and not condition.value
    return condition.negated != asks_for_a_value


def _test(dialect: Dialect, condition: Condition) -> Any:
    key, value = condition.key, condition.value
    if condition.operator == "isnull":
        return dialect.models.FieldCondition(key=key, is_empty=True)
    if condition.operator == "has_vector":
        return dialect.has_vector(key)
    if condition.operator == "eq":
        return _equals(dialect, key, value)
    if condition.operator == "in":
        return _any_of(dialect, key, value)
    return _range(dialect, key, **{condition.operator: value})


def _equals(dialect: Dialect, key: str, value: Any) -> Any:
    if isinstance(value, bool | str):
        return dialect.models.FieldCondition(key=key, match=dialect.match(value))
    # Qdrant matches integers and floats exactly, but 5 is not 5.0 to it: a range sees them as one.
    return _range(dialect, key, gte=value, lte=value)


def _any_of(dialect: Dialect, key: str, values: Sequence[Any]) -> Any:
    if not values:
        return dialect.has_id([])  # "any of nothing" is nothing; an empty `should` would be everything
    if all(isinstance(value, str) for value in values):
        return dialect.models.FieldCondition(key=key, match=dialect.models.MatchAny(any=list(values)))
    return dialect.models.Filter(should=[_equals(dialect, key, value) for value in values])


def _range(dialect: Dialect, key: str, **bounds: Any) -> Any:
    if any(isinstance(bound, str | date) for bound in bounds.values()):
        dates = {operator: instant(bound).isoformat() for operator, bound in bounds.items()}
        return dialect.models.FieldCondition(key=key, range=dialect.dates(**dates))
    numbers = {operator: float(bound) for operator, bound in bounds.items()}
    return dialect.models.FieldCondition(key=key, range=dialect.numbers(**numbers))
