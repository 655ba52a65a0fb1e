"""What a shop's `get_queryset()` may return, and how it is made ready for reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models.query import ModelIterable


def mistake(queryset: models.QuerySet[Any]) -> tuple[str, str]:
    """Return why a queryset cannot be read in pages and by ids, and the remedy; "" and "" if it can be."""
    query = queryset.query
    if query.combinator:
        return (
            f"is a {query.combinator}()",
            "Write it as one filter(), such as filter(Q(…) | Q(…)): Django cannot filter combined querysets.",
        )
    if not issubclass(queryset._iterable_class, ModelIterable):
        return (
            "gives no rows",
            "Leave out values(), values_list() and dates(). The document declares which fields are read.",
        )
    if query.is_sliced:
        return "is sliced", "Filter it instead, such as filter(pk__in=…): a slice cannot be filtered."
    if query.distinct_fields:
        names = ", ".join(map(repr, query.distinct_fields))
        return (
            f"is distinct({names})",
            "Filter it instead: which rows it has would depend on the page.",
        )
    if query.where.contains_over_clause or any(
        getattr(annotation, "contains_over_clause", False) for annotation in query.annotations.values()
    ):
        return (
            "has a window function",
            "Write filter(pk__in=…) with it inside: its value would depend on the page that is read.",
        )
    return "", ""


def ready(queryset: models.QuerySet[Any], using: str) -> models.QuerySet[Any]:
    """Return a queryset on this database, without its order and its locks.

    Rows are read by keys, in pages of its own order, and outside of transactions.
    """
    found = queryset.using(using).order_by()
    found.query.standard_ordering = True  # after reverse(), even order_by("pk") would be read backwards
    found.query.select_for_update = False
    return found


def loading(queryset: models.QuerySet[Any], columns: Iterable[str]) -> models.QuerySet[Any]:
    """Return a queryset that loads these columns also if it defers them, which would cost a query each."""
    names, are_deferred = queryset.query.deferred_loading
    if not names:
        return queryset
    if are_deferred:
        return queryset.defer(None).defer(*set(names) - set(columns))
    return queryset.only(*names, *columns)
