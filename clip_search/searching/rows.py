"""Hits → the shop's rows, and what to do about hits whose row is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q

from ..documents import Document
from ..exceptions import in_one_line
from ..models import IndexEntry
from ..stores.base import Found
from ..types import MODEL_SOURCE

logger = logging.getLogger(__name__)


def rows_of(document: Document, found: Sequence[Found]) -> dict[str, Any]:
    """Return the rows of hits that qualify now, by product id, in one query.

    What `get_queryset` selects and prefetches is kept; nothing is added to it.
    """
    keys = keys_of(document, [one.stamp.product_id for one in found])
    rows = document.get_queryset().using(document.using).filter(**{f"{document.id_field}__in": keys})
    return {document.product_id(row): row for row in rows if document.may_qualify(row)}


def keys_of(document: Document, product_ids: Sequence[str]) -> list[Any]:
    """Return the values of `id_field` that ids stand for; those that the model cannot have are left out."""
    return list(document._keys(product_ids))


def raise_removal(document: Document, gone: Sequence[Found]) -> None:
    """Have hits whose row is gone looked at by a worker: the sweep finds them, and no page waits for it.

    What waits already is left alone, or a page that many look at would raise it faster than a worker
    finishes it; so is what somebody has posted meanwhile.
    """
    ids = {document.point_id(one.stamp.product_id): one.stamp.product_id for one in gone}
    entries = IndexEntry.objects.of(document).filter(uuid__in=ids)
    try:
        with transaction.atomic(using=document.using):
            settled = ~Q(source=MODEL_SOURCE) | Q(state=IndexEntry.State.PENDING)
            for key in entries.filter(settled).values_list("uuid", flat=True):
                del ids[key]
            if ids:
                IndexEntry.objects.raise_revision(document, ids.values())
                logger.info("Raised for removal document=%s products=%d", document.name, len(ids))
    except DatabaseError as error:  # a read-only database still shows its catalogue
        logger.warning("Cannot raise for removal document=%s error=%s", document.name, in_one_line(error))
