"""Checks the queryset that a shop's `get_queryset()` returns, and prepares it for reading in pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models.query import ModelIterable


def mistake(queryset: models.QuerySet[Any]) -> tuple[str, str]:
    """Return (error message, remedy) if a queryset cannot be read in pages and by ids, or else ("", "")."""
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
            "Use filter() instead. Otherwise it would depend on the page which rows are found.",
        )
    if query.where.contains_over_clause or any(
        getattr(annotation, "contains_over_clause", False) for annotation in query.annotations.values()
    ):
        return (
            "has a window function",
            "Put it inside filter(pk__in=…). Otherwise its value would depend on the page that is read.",
        )
    return "", ""


def ready(queryset: models.QuerySet[Any], using: str) -> models.QuerySet[Any]:
    """Return the queryset on the database `using`, without its order and its row locks.

    They are not needed, because rows are read by key, in pages, and outside of transactions.
    """
    found = queryset.using(using).order_by()
    found.query.standard_ordering = True  # after reverse(), even order_by("pk") would be read backwards
    found.query.select_for_update = False
    return found


def loading(queryset: models.QuerySet[Any], columns: Iterable[str]) -> models.QuerySet[Any]:
    """Return the queryset so that it loads these columns, even if the shop defers them.

    A deferred column would take one query for each row.
    """
    names, are_deferred = queryset.query.deferred_loading
    if not names:
        return queryset
    if are_deferred:
        return queryset.defer(None).defer(*set(names) - set(columns))
    return queryset.only(*names, *columns)
