"""Attribute paths that may cross relations, such as "images.original"."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models, router
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.db.models.manager import BaseManager

LISTS = (list, tuple, set, frozenset, models.QuerySet)
SCALARS = (str, int, float, Decimal, datetime.date)
"""Types of which a value is neither a manager, nor callable, nor a list. Only to save time."""
LISTED = "_clip_search_listed_"
"""Prefix of the attribute in which a row keeps the prefetched objects of a relation as a list.

This is faster than prefetching for `.all()`, for which Django creates a manager and a queryset for each row:
they take up to a quarter of the time in which an unchanged product is compared."""


def values(obj: Any, path: str) -> list[Any]:
    """Return the values at the end of a path that starts at `obj`, in order and without None.

    A to-many relation gives all its objects, a list all its items. A method is called without arguments. A
    related object that does not exist gives no value.
    """
    found = [obj]
    for name, listed in _steps(path):
        found = [value for item in found for value in _step(item, name, listed) if value is not None]
    return found


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, LISTED + name) for name in path.split("."))


def _step(obj: Any, name: str, listed: str) -> Iterable[Any]:
    prefetched: list[Any] | None = getattr(obj, "__dict__", {}).get(listed)
    if prefetched is not None:
        return prefetched
    try:
        value = getattr(obj, name)
    except ObjectDoesNotExist:
        return ()
    if value is None or isinstance(value, SCALARS):
        return (value,)
    if isinstance(value, BaseManager):
        return value.all()
    if callable(value):
        value = value()
    return value if isinstance(value, LISTS) else (value,)


def prefetches(
    model: type[models.Model], path: str, using: str | None, *, lists: bool
) -> Iterator[models.Prefetch[Any]]:
    """Yield a Prefetch for each relation of a path, so that all are read from the database `using`.

    If `using` is None, the database router chooses the database. With `lists`, the objects of a to-many
    relation are kept in a list that only `values()` reads; `.all()` does not use them.
    """
    prefetch: Callable[..., models.Prefetch[Any]] = _Prefetch  # django-stubs rejects _Prefetch(…)
    before, pin = "", using if router.routers else None
    for name, field in crossed(model, path):
        many, related = _is_many(field), _related(field)
        queryset: Any = None
        if pin and _takes_a_queryset(model, name) and router.allow_migrate_model(pin, related):
            queryset = (related._default_manager if many else related._base_manager).using(pin)
        if queryset is None or queryset._prefetch_related_lookups:
            queryset = pin = None  # here and below: Django allows no second queryset for a relation
        attribute = LISTED + name if lists and many else None
        yield prefetch(before + name, queryset, to_attr=attribute)
        before += f"{attribute or name}__"
        model = related


def _takes_a_queryset(model: type[models.Model], name: str) -> bool:
    """Return whether Django itself defines this relation. Those of other libraries may accept no queryset."""
    return type(getattr(model, name)).__module__.startswith("django.")


class _Prefetch(models.Prefetch):  # type: ignore[type-arg]
    """A Prefetch that gives Django a copy of its queryset.

    Django stores a row on the queryset as a hint. If the Prefetch is used again, this row stays in memory.
    """

    def get_current_querysets(self, level: int) -> Sequence[models.QuerySet[Any]] | None:
        found = super().get_current_querysets(level)
        return found and [queryset.all() for queryset in found]


@lru_cache(maxsize=1024)
def crosses_many(model: type[models.Model], path: str) -> bool:
    """Return whether a path crosses a to-many relation, and so may lead to several values."""
    return any(_is_many(field) for _, field in crossed(model, path))


def crossed(model: type[models.Model], path: str) -> Iterator[tuple[str, Any]]:
    """Yield (name, field) for each relation at the start of a path."""
    for name in path.split("."):
        field = _field(model, name)
        if field is None or field.related_model is None:
            return
        yield name, field
        model = _related(field)


def _is_many(field: Any) -> bool:
    return bool(field.one_to_many or field.many_to_many)


def mistake(model: type[models.Model], path: str) -> str:
    """Return an error message if a path is wrong, or "". Steps after a property cannot be checked."""
    for name in path.split("."):
        field = _field(model, name)
        if field is None:
            return "" if hasattr(model, name) else f"{model.__name__} has no field or attribute {name!r}"
        if field.related_model is None:
            return ""
        model = _related(field)
    return ""


def field(model: type[models.Model], path: str) -> Any:
    """Return the model field at the end of a path, or None if the path does not end at a model field."""
    *crossed, last = path.split(".")
    for name in crossed:
        step = _field(model, name)
        if step is None or step.related_model is None:
            return None
        model = _related(step)
    return _field(model, last)


def first_columns(model: type[models.Model], path: str) -> set[str] | None:
    """Return the names that `update_fields` may have for the first step of a path.

    The set is empty for a relation without a column in the model's table. The result is None, for unknown
    names, if the step is a property or a GenericForeignKey.
    """
    field = _field(model, path.split(".")[0])
    if field is None:
        return None
    if _is_many(field) or isinstance(field, ForeignObjectRel):
        return set()
    return {field.name, field.attname} if field.concrete else None


def split_forward(model: type[models.Model], path: str) -> tuple[list[str], list[str]]:
    """Split a path after its leading foreign keys. Return the names before and after the split."""
    names = path.replace("__", ".").split(".")
    for index, name in enumerate(names):
        field = _field(model, name)
        if field is None or not field.concrete or not (field.many_to_one or field.one_to_one):
            return names[:index], names[index:]
        model = _related(field)
    return names, []


def follow(model: type[models.Model], names: Iterable[str]) -> type[models.Model]:
    """Return the model to which these relations lead. Raises FieldDoesNotExist if one is not a relation."""
    for name in names:
        model = _related(relation(model, name))
    return model


def is_generic(field: Any) -> bool:
    """Return whether a field is a GenericRelation to rows that have a generic foreign key."""
    return hasattr(field, "object_id_field_name") and any(
        hasattr(link, "ct_field") for link in field.related_model._meta.private_fields
    )


def links(through: type[models.Model], model: type[models.Model]) -> list[Any]:
    """Return the ForeignKeys and GenericForeignKeys that may lead from a `through` model to `model`."""
    concrete = [f for f in through._meta.concrete_fields if f.is_relation and kin(f.related_model, model)]
    return concrete + [f for f in through._meta.private_fields if hasattr(f, "ct_field")]


def kin(one: Any, other: Any) -> bool:
    """Return whether both arguments are models, and are the same or one inherits from the other."""
    if not all(isinstance(model, type) and issubclass(model, models.Model) for model in (one, other)):
        return False
    first, second = (model._meta.concrete_model or model for model in (one, other))
    return issubclass(first, second) or issubclass(second, first)


def back(steps: Sequence[Any]) -> str:
    """Return the path that follows these relations backwards, from the last one to the first.

    Return "" if one of them has no name in that direction, as with `related_name="+"`.
    """
    names: list[str] = []
    reached = steps[-1].related_model
    for step in reversed(steps):
        if step.related_model is not reached and issubclass(step.related_model, reached):
            if getattr(step, "parent_link", False):
                continue  # the parent itself has the next relation, so this step to the child is not needed
            names += _down(reached, step.related_model)
        if isinstance(step, ForeignObjectRel):
            names.append(step.field.name)
        elif getattr(step.remote_field, "symmetrical", False) and kin(step.model, step.related_model):
            names.append(step.name)
        elif step.remote_field.hidden:
            return ""
        else:
            accessor = step.remote_field.get_accessor_name()
            names.append(accessor if hasattr(step.related_model, accessor) else step.remote_field.name)
        reached = step.model
    return ".".join(names)


def _down(parent: type[models.Model], child: type[models.Model]) -> list[str]:
    """Return the relations from a parent's row to the child's row (multi-table inheritance)."""
    names: list[str] = []
    model: Any = child._meta.concrete_model
    while model is not parent._meta.concrete_model:
        link = model._meta.get_ancestor_link(parent._meta.concrete_model)
        names.insert(0, link.remote_field.name)
        model = link.remote_field.model
    return names


def _related(field: Any) -> type[models.Model]:
    model: type[models.Model] = field.related_model
    return model


def _field(model: type[models.Model], name: str) -> Any:
    """Return the field or relation with this attribute name, or None.

    The attribute name of a reverse relation is that of its accessor, such as `image_set`.
    """
    for reverse in model._meta.related_objects:
        if reverse.get_accessor_name() == name:
            return reverse
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return None if isinstance(field, ForeignObjectRel) else field


def relation(model: type[models.Model], name: str) -> Any:
    """Return the relation with this name in queries, or else with this accessor name.

    Raises FieldDoesNotExist if there is none.
    """
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = _field(model, name)
    if field is None or field.related_model is None:
        raise FieldDoesNotExist(f"{model.__name__} has no relation {name!r}")
    return field


def lookup(model: type[models.Model], path: str) -> str:
    """Return a path of relations as a lookup for queries. Raises FieldDoesNotExist for a wrong name."""
    names = []
    for name in path.replace("__", ".").split("."):
        field = relation(model, name)
        names.append(field.name)
        model = _related(field)
    return "__".join(names)
