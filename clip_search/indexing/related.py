"""Find the products that a change of a related object concerns, and mark them as changed."""

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
"""How many products are marked in one transaction."""


def expand_related(document: BoundDocument, *, goes_on: Callable[[], bool] = lambda: True) -> list[str]:
    """Mark the products of every related change of a document as changed. Return their product ids.

    A change of which the products cannot be found, because the shop's own code raises or the Django model no
    longer exists, is logged and stays for the next time. The other changes are processed nevertheless. The
    loop ends when `goes_on()`, which is called before each step, returns False.
    """
    changes = RelatedChange.objects.using(document.using).filter(document=document.name)
    marked: list[str] = []
    broken: list[int] = []
    while goes_on():
        with transaction.atomic(using=document.using):
            remaining = changes.exclude(pk__in=broken).order_by("pk")
            if connections[document.using].features.has_select_for_update_skip_locked:
                remaining = remaining.select_for_update(skip_locked=True)
            change = remaining.first()
            if change is None:
                return marked
            try:
                with transaction.atomic(using=document.using):
                    marked += _step(document, change)
            except DatabaseError:
                raise
            except Exception:
                logger.exception("Cannot find the products of a related change change=%s", change)
                broken.append(change.pk)
    return marked


def _step(document: BoundDocument, change: RelatedChange) -> list[str]:
    """Mark the next products of a change, and return their ids.

    The cursor is moved behind them. The last step deletes the change.
    """
    is_list = change.product_ids is not None  # then the products themselves changed, not a related object
    product_ids, cursor = (_listed if is_list else _found)(document, change)
    images = is_list and change.path == "images"
    IndexEntry.objects.mark_changed(document, product_ids, take_over=is_list, images=images)
    # `update()` and not `save()`: without SKIP LOCKED, another worker may have deleted the change meanwhile,
    # and `save()` would insert it again.
    if cursor:
        RelatedChange.objects.using(document.using).filter(pk=change.pk).update(cursor=cursor)
    else:
        change.delete(using=document.using)
    return product_ids


def _listed(document: BoundDocument, change: RelatedChange) -> tuple[list[str], str]:
    """Return the next product ids of `change.product_ids`, and the cursor behind them, "" at the end."""
    start = int(change.cursor or 0)
    ids = change.product_ids or []
    return ids[start : start + PAGE], str(start + PAGE) if start + PAGE < len(ids) else ""


def _found(document: BoundDocument, change: RelatedChange) -> tuple[list[str], str]:
    """Return the next product ids that `change.path` leads to, and the cursor behind them, "" at the end.

    The path leads from the related object to its products.
    """
    model = apps.get_model(change.model)
    related = model._base_manager.using(document.using).filter(pk=change.object_id)
    keys = related.values(f"{change.path}__pk")
    queryset = document.model._base_manager.using(document.using).filter(pk__in=keys).order_by("pk")
    rows = list((queryset.filter(pk__gt=change.cursor) if change.cursor else queryset)[:PAGE])
    return document.product_ids(rows), str(rows[-1].pk) if len(rows) == PAGE else ""
