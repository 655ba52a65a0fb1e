"""Product ids, and the values of the model's id field that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connections, models


@lru_cache(maxsize=256)
def id_column(model: type[models.Model], id_field: str) -> Any:
    """Return the column that holds the ids: `id_field`, or the column at the end of a foreign key."""
    field: Any = model._meta.pk if id_field == "pk" else model._meta.get_field(id_field)
    while field.remote_field:
        field = field.target_field
    return field


def as_id(value: Any, column: Any) -> str:
    """Return a value of the id's column as a product id.

    The column converts it first: a row that was not read from the database may hold a UUID as hex digits,
    while the database returns it with hyphens.
    """
    try:
        return str(column.to_python(value))
    except ValidationError:
        return str(value)


def keys_of(product_ids: Iterable[str], column: Any, using: str) -> list[Any]:
    """Return the column's values for product ids.

    Ids that the column cannot hold, such as a posted "test-123" for an integer key, are left out. So are
    integers beyond the column's range, for which some databases raise. The field's own validators are not
    asked: they are for forms, and rows may exist that break them.
    """
    lowest = highest = None
    if isinstance(column, models.IntegerField):
        lowest, highest = connections[using].ops.integer_field_range(column.get_internal_type())
    keys = []
    for product_id in product_ids:
        try:
            key = column.to_python(product_id)
        except ValidationError:
            continue
        if (lowest is None or lowest <= key) and (highest is None or key <= highest):
            keys.append(key)
    return keys
