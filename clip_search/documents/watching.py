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
    for field in declaration.filter_fields.values():
        yield from (("filter_fields", path) for path in (*field.paths, *(field.reads or ())))
    yield from (("reads", path) for path in declaration.reads or ())


def related_paths(declaration: Declaration[Any]) -> Iterator[tuple[type[models.Model], str]]:
    """Yield each model of `related` with each of its paths."""
    for model, declared in declaration.related.items():
        yield from ((model, path) for path in ([declared] if isinstance(declared, str) else declared))


def many_to_many(declaration: Declaration[Any]) -> Iterator[tuple[str, type[models.Model], Any]]:
    """Yield the many-to-many relations that the index may depend on: those of the model, and those on paths.

    Each comes with the model that has it, and with the start of a lookup that leads to that model, "" or
    "category__".
    """
    for field in declaration.model._meta.get_fields():
        if field.many_to_many:
            yield "", declaration.model, field
    for _, path in declared_paths(declaration):
        start, model = "", declaration.model
        for _, step in paths.crossed(model, path):
            if start and step.many_to_many:
                yield start, model, step
            start, model = f"{start}{step.name}__", step.related_model


def is_read_by_paths(declaration: Declaration[Any]) -> bool:
    """Return whether rows are read by columns and relations alone. A host's own method may read anything."""
    methods = overridden(declaration) - {"get_queryset", "image_signature"}
    functions = any(field.from_ for field in declaration.filter_fields.values())
    return not methods and not functions and None not in _columns(declaration)


def watched_columns(declaration: Declaration[Any]) -> frozenset[str] | None:
    """Return the columns whose change can change the index; None if any column may.

    What the host's own methods and properties read is only known if it is declared in `reads`.
    """
    columns = _columns(declaration)
    methods = overridden(declaration) - {"image_signature"}
    functions = any(field.from_ and field.reads is None for field in declaration.filter_fields.values())
    if declaration.reads is None and (methods or functions or None in columns):
        return None
    return frozenset(name for names in columns for name in names or ())


def _columns(declaration: Declaration[Any]) -> list[set[str] | None]:
    """Return the names of the first column of each declared path, None if they are not known."""
    ids = [] if declaration.id_field == "pk" else [declaration.id_field]
    declared = [*ids, *(path for _, path in declared_paths(declaration))]
    return [paths.first_columns(declaration.model, path) for path in declared]
