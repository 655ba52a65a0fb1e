"""Reading and writing rows in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from django.db import models

ROWS_PER_STATEMENT = 1000
"""The most rows in one SQL statement: few enough for the parameter limit of every database."""

Item = TypeVar("Item")


def chunks(items: Sequence[Item], size: int = ROWS_PER_STATEMENT) -> Iterator[Sequence[Item]]:
    """Yield the items in sequences of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def pages(queryset: models.QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of at most `size` rows, in the order of their primary keys. Each list takes one query."""
    ordered, last = queryset.order_by("pk"), None
    while rows := list((ordered if last is None else ordered.filter(pk__gt=last))[:size]):
        last = rows[-1].pk
        yield rows
        rows.clear()  # free this page before the next one is read
