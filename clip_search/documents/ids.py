"""Conversion between product ids, which are strings, and values of the model's id field."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import connections, models

MAX_ID: Final = 255
"""The most characters of a product id."""


def mistake(product_id: str) -> str:
    """Return an error message if no product can be posted under this id, or ""."""
    if not product_id:
        return "The id is empty. Send an id."
    if len(product_id) > MAX_ID:
        return f"The id has more than {MAX_ID} characters. Send a shorter id."
    if not product_id.isprintable():
        return "The id contains unprintable characters. Remove them."
    if product_id != product_id.strip():
        return "The id begins or ends with a space. Remove it."
    if {".", ".."} & set(product_id.split("/")):
        return 'The id has a part "." or "..", which HTTP clients remove from URLs. Send another id.'
    return ""


@lru_cache(maxsize=256)
def product_id_field(model: type[models.Model], id_field: str) -> Any:
    """Return the model field whose value is the product id.

    This is the field named `id_field`. If that is a foreign key, the field that it refers to is returned.
    """
    field: Any = model._meta.pk if id_field == "pk" else model._meta.get_field(id_field)
    while field.remote_field:
        field = field.target_field
    return field


def as_id(value: Any, field: Any) -> str:
    """Return a value of the id field as a product id.

    The field converts the value first. Otherwise a row that was created with a UUID string without hyphens
    would have another product id than the same row read from the database.
    """
    try:
        return str(field.to_python(value))
    except ValidationError:
        return str(value)


def keys_of(product_ids: Iterable[str], field: Any, using: str) -> list[Any]:
    """Return product ids as values of the id field.

    Ids that the field cannot hold are left out, such as "test-123" for an integer field. Integers outside the
    field's range are left out too, because some databases raise an error for them. The field's validators
    are not called: the table may hold rows that were saved without validation.
    """
    lowest = highest = None
    if isinstance(field, models.IntegerField):
        lowest, highest = connections[using].ops.integer_field_range(field.get_internal_type())
    keys = []
    for product_id in product_ids:
        try:
            key = field.to_python(product_id)
        except ValidationError:
            continue
        if (lowest is None or lowest <= key) and (highest is None or key <= highest):
            keys.append(key)
    return keys
