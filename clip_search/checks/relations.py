"""Checks of `related`: its paths must lead to the document's model, and no model may be missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.core.checks import CheckMessage
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.fields.reverse_related import ForeignObjectRel

from ..documents import paths
from ..documents.binding import BoundDocument
from ..documents.watching import declared_paths, related_paths
from .messages import error, label_of, warning


def check_related(document: BoundDocument) -> Iterator[CheckMessage]:
    """Report paths of `related` that do not lead to the document's model."""
    for model, path in related_paths(document.declaration):
        if mistake := _related_mistake(document, model, path):
            yield error(
                "clip_search.E106",
                f"{label_of(document, 'related')}: {path!r}: {mistake}.",
                f"Name the relations that lead from the related model to {document.model.__name__}.",
                document,
            )


def _related_mistake(document: BoundDocument, model: Any, path: str) -> str:
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        return f"{model!r} is no model"
    try:
        end = paths.follow(model, path.replace("__", ".").split("."))
    except FieldDoesNotExist as fault:
        return str(fault)
    return "" if paths.kin(end, document.model) else f"it leads from {model.__name__} to {end.__name__}"


def check_noticed(document: BoundDocument) -> Iterator[CheckMessage]:
    """Warn about each model on a declared path for which `related` has no path to the document's model."""
    missing: dict[type[models.Model], dict[str, str]] = {}
    for attribute, path in declared_paths(document.declaration):
        for model, back in _ways_back(document, path):
            if not _is_noticed(document, model, back):
                reads = f"{label_of(document, attribute)} reads {path!r}"
                missing.setdefault(model, {}).setdefault(back[0], reads)
    for model, ways in missing.items():
        name, product = model.__name__, document.model.__name__
        declared = [path for watched, path in related_paths(document.declaration) if watched is model]
        named = [path for path in declared if not _related_mistake(document, model, path)]
        written = ", ".join(f'"{path}"' for path in (*named, *ways))
        if "" in ways:
            hint = (
                f"No relation from {name} to {product} has a name. Give the relation a related_name (a "
                f"GenericRelation a related_query_name), and add {name} with it to related."
            )
        elif len(named) + len(ways) == 1:
            hint = f"Add {name}: {written} to related."
        else:
            hint = f"Write {name}: [{written}] in related."
        message = f"{next(iter(ways.values()))}, but changes of a {name} are not noticed."
        yield warning("clip_search.W101", message, hint, document)


def _ways_back(document: BoundDocument, path: str) -> Iterator[tuple[type[models.Model], list[str]]]:
    """Yield (model, paths back) for each model on a path: these paths lead back to the document's model.

    The first one follows the whole path. The others end at rows whose changes count as changes of the
    product.
    """
    steps = [field for _, field in paths.crossed(document.model, path)]
    own = next((at for at, step in enumerate(steps) if not _stays(document, step)), len(steps))
    for end in range(own + 1, len(steps) + 1):
        if not paths.is_generic(steps[end - 1]):  # otherwise its rows are listened to
            yield steps[end - 1].related_model, [paths.back(steps[start:end]) for start in range(own + 1)]


def _stays(document: BoundDocument, step: Any) -> bool:
    """Return whether a relation leads to rows whose changes count as changes of the product itself.

    These are its rows in the table of a parent model or subclass, and its variants if `index_as()` is
    overridden.
    """
    if getattr(step, "parent_link", False) or getattr(step.remote_field, "parent_link", False):
        return True
    to_variants = isinstance(step, ForeignObjectRel) and not step.many_to_many
    same_model = paths.kin(step.related_model, document.model)
    return "index_as" in document.overridden and to_variants and same_model


def _is_noticed(document: BoundDocument, model: type[models.Model], back: list[str]) -> bool:
    for watched, path in related_paths(document.declaration):
        concrete = watched._meta.concrete_model if isinstance(watched, models.base.ModelBase) else None
        if concrete and issubclass(model, concrete):
            if not any(back) and not _related_mistake(document, watched, path):
                return True  # no path is the right one, and the shop has found another
            with suppress(FieldDoesNotExist):
                if paths.lookup(watched, path) in [paths.lookup(model, way) for way in back if way]:
                    return True
    return False
