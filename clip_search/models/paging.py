"""How many rows are read or written at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models

ROWS_PER_STATEMENT = 1000
"""Below every database's limit of parameters in one statement."""


def pages(queryset: models.QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of rows in the order of their primary keys; each query starts where the last one ended."""
    ordered, last = queryset.order_by("pk"), None
    while rows := list((ordered if last is None else ordered.filter(pk__gt=last))[:size]):
        last = rows[-1].pk
        yield rows
        rows.clear()  # so that one page is in memory, never two
