"""The products behind a change of a related object."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.apps import apps
from django.db import Error as DatabaseError
from django.db import connections, transaction

from ..documents.binding import BoundDocument
from ..models import IndexEntry, RelatedChange

logger = logging.getLogger(__name__)

PAGE = 500
"""Products that one step marks."""


def expand_related(document: BoundDocument, *, goes_on: Callable[[], bool] = lambda: True) -> list[str]:
    """Mark the products behind every related change of a document as changed. Return their ids.

    A change that cannot be followed, because the host's code raises or its model is gone, stays and is logged
    each time; it delays nothing else. `goes_on()` is asked before each step.
    """
    changes = RelatedChange.objects.using(document.using).filter(document=document.name)
    marked: list[str] = []
    broken: list[int] = []
    while goes_on():
        with transaction.atomic(using=document.using):
            waiting = changes.exclude(pk__in=broken).order_by("pk")
            if connections[document.using].features.has_select_for_update_skip_locked:
                waiting = waiting.select_for_update(skip_locked=True)
            change = waiting.first()
            if change is None:
                return marked
            try:
                with transaction.atomic(using=document.using):
                    marked += _step(document, change)
            except DatabaseError:
                raise
            except Exception:
                logger.exception("Cannot follow a related change, it stays change=%s", change)
                broken.append(change.pk)
    return marked


def _step(document: BoundDocument, change: RelatedChange) -> list[str]:
    """Mark the next products of a change, and record how far that is; the last step deletes the change."""
    is_list = change.product_ids is not None  # of products that were saved, not of what they are related to
    product_ids, cursor = (_listed if is_list else _found)(document, change)
    IndexEntry.objects.mark_changed(document, product_ids, take_over=is_list)
    if cursor:  # as an update, because a worker on a database without SKIP LOCKED may have deleted it
        RelatedChange.objects.using(document.using).filter(pk=change.pk).update(cursor=cursor)
    else:
        change.delete(using=document.using)
    return product_ids


def _listed(document: BoundDocument, change: RelatedChange) -> tuple[list[str], str]:
    """Return the next of the listed ids, and the cursor after them, "" at the end."""
    start = int(change.cursor or 0)
    ids = change.product_ids or []
    return ids[start : start + PAGE], str(start + PAGE) if start + PAGE < len(ids) else ""


def _found(document: BoundDocument, change: RelatedChange) -> tuple[list[str], str]:
    """Return the ids of the next products that the path leads to, and the cursor after them or ""."""
    model = apps.get_model(change.model)
    related = model._base_manager.using(document.using).filter(pk=change.object_id)
    keys = related.values(f"{change.path}__pk")
    queryset = document.model._base_manager.using(document.using).filter(pk__in=keys).order_by("pk")
    rows = list((queryset.filter(pk__gt=change.cursor) if change.cursor else queryset)[:PAGE])
    return document.product_ids(rows), str(rows[-1].pk) if len(rows) == PAGE else ""
