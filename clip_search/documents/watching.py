"""Finds the fields and relations that the index depends on. Other changes need no indexing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models

from . import paths
from .declaration import Declaration, overridden


def declared_paths(declaration: Declaration[Any]) -> Iterator[tuple[str, str]]:
    """Yield (attribute, path) for each declared path, such as ("text_fields", "name")."""
    yield from (("text_fields", path) for path in declaration.text_fields)
    yield from (("search_fields", path) for path in declaration.search_fields)
    if declaration.image_field:
        yield "image_field", declaration.image_field
    yield from (("exact_fields", path) for path in declaration.exact_fields)
    for field in declaration.filter_fields.values():
        yield from (
            ("filter_fields", path) for path in (*field.paths, *field.label_paths, *(field.reads or ()))
        )
    yield from (("reads", path) for path in declaration.reads or ())


def related_paths(declaration: Declaration[Any]) -> Iterator[tuple[type[models.Model], str]]:
    """Yield (model, path) for each path in `related`."""
    for model, declared in declaration.related.items():
        yield from ((model, path) for path in ([declared] if isinstance(declared, str) else declared))


def many_to_many(declaration: Declaration[Any]) -> Iterator[tuple[str, type[models.Model], Any]]:
    """Yield (start, model, field) for each many-to-many relation that the index may depend on.

    These are the relations of the document's own model, and those that declared paths cross. A
    GenericRelation on such a path counts as one: its rows lead to objects of any model. `model` is the
    model that has the relation. `start` is the lookup that leads to this model: "" or, for example,
    "category__".
    """
    for field in declaration.model._meta.get_fields():
        if field.many_to_many:
            yield "", declaration.model, field
    for _, path in declared_paths(declaration):
        start, model = "", declaration.model
        for _, step in paths.crossed(model, path):
            if (start and step.many_to_many) or paths.is_generic(step):
                yield start, model, step
            start, model = f"{start}{step.name}__", step.related_model


def is_read_by_paths(declaration: Declaration[Any]) -> bool:
    """Return whether content is read from declared fields and relations only.

    Overridden methods, functions and properties may read anything else.
    """
    methods = overridden(declaration) - {"get_queryset", "image_signature"}
    functions = any(field.from_ for field in declaration.filter_fields.values())
    return not methods and not functions and None not in _first_fields(declaration)


def watched_fields(declaration: Declaration[Any]) -> frozenset[str] | None:
    """Return the fields whose change can change the index, named as in `update_fields`.

    Return None if every field may: overridden methods, functions and properties may read any field, unless
    `reads` lists what they read.
    """
    unknown = None in _first_fields(declaration)
    methods = overridden(declaration) - {"image_signature"}
    functions = any(field.from_ and field.reads is None for field in declaration.filter_fields.values())
    if declaration.reads is None and (methods or functions or unknown):
        return None
    return declared_fields(declaration)


def declared_fields(declaration: Declaration[Any]) -> frozenset[str]:
    """Return the names of the model fields with which declared paths begin."""
    return frozenset(name for names in _first_fields(declaration) for name in names or ())


def _first_fields(declaration: Declaration[Any]) -> list[set[str] | None]:
    """Return the field names of the first step of each declared path: a set, or None if unknown."""
    ids = [] if declaration.id_field == "pk" else [declaration.id_field]
    declared = [*ids, *(path for _, path in declared_paths(declaration))]
    return [paths.first_columns(declaration.model, path) for path in declared]
