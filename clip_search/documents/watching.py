"""Which columns and relations the index depends on: what a save can change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models

from . import paths
from .declaration import Declaration, overridden


def declared_paths(declaration: Declaration[Any]) -> Iterator[tuple[str, str]]:
    """Yield every path that is declared, each with the attribute that declares it."""
    yield from (("text_fields", path) for path in declaration.text_fields)
    if declaration.image_field:
        yield "image_field", declaration.image_field
    yield from (("exact_fields", path) for path in declaration.exact_fields)
    yield from (("filter_fields", field.path) for field in declaration.filter_fields.values())


def is_read_by_paths(declaration: Declaration[Any]) -> bool:
    """Return whether a row is read by columns and relations alone. A host's own method may read anything."""
    return not overridden(declaration) - {"get_queryset"} and None not in _first_columns(declaration)


def watched_columns(declaration: Declaration[Any]) -> frozenset[str] | None:
    """Return the columns whose change can change the index; None if any column may."""
    if not is_read_by_paths(declaration):
        return None
    columns = filtered_columns(declaration.get_queryset())
    return None if columns is None else frozenset(columns.union(*filter(None, _first_columns(declaration))))


def _first_columns(declaration: Declaration[Any]) -> list[set[str] | None]:
    ids = [] if declaration.id_field == "pk" else [declaration.id_field]
    declared = [*ids, *(path for _, path in declared_paths(declaration))]
    return [paths.first_columns(declaration.model, path) for path in declared]


def filtered_columns(queryset: models.QuerySet[Any]) -> set[str] | None:
    """Return the model's own columns that a queryset filters by; None if they cannot be read off it."""
    query, columns = queryset.query, set()
    if query.combinator or query.distinct or query.is_sliced or query.annotations:
        return None
    nodes: list[Any] = list(query.where.children)
    while nodes:
        node = nodes.pop()
        if hasattr(node, "children"):
            nodes += node.children
            continue
        target = getattr(getattr(node, "lhs", None), "target", None)
        if target is None or _is_computed(node.rhs):
            return None
        columns |= {target.name, target.attname}
    joins: list[Any] = [join.join_field for join in query.alias_map.values() if hasattr(join, "join_field")]
    if any(field.one_to_many or field.many_to_many for field in joins):
        return None
    return columns | {name for field in joins for name in (field.name, getattr(field, "attname", field.name))}


def _is_computed(value: Any) -> bool:
    """Return whether the right side of a lookup is, or lists, an expression for the database."""
    values = value if isinstance(value, paths.LISTS) else [value]
    return any(hasattr(item, "resolve_expression") for item in values)
