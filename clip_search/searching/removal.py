"""The shop's rows of hits, and what happens to hits whose row is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.db import DatabaseError, transaction
from django.db.models import Q

from ..documents.binding import BoundDocument
from ..exceptions import in_one_line
from ..models import IndexEntry
from ..stores.base import ScoredPoint
from ..types import MODEL_SOURCE

logger = logging.getLogger(__name__)


def schedule_removal(document: BoundDocument, gone: Sequence[ScoredPoint]) -> None:
    """Mark hits whose row is gone as changed: a worker's sweep removes them, and no page waits for that.

    Entries that are waiting already are left alone, or a page that many look at would mark them faster than a
    worker finishes them. So are products that were posted since.
    """
    ids = {document.point_id(one.stamp.product_id): one.stamp.product_id for one in gone}
    entries = IndexEntry.objects.of(document).filter(uuid__in=ids)
    try:
        with transaction.atomic(using=document.using):
            settled = ~Q(source=MODEL_SOURCE) | Q(state=IndexEntry.State.PENDING)
            for key in entries.filter(settled).values_list("uuid", flat=True):
                del ids[key]
            if ids:
                IndexEntry.objects.mark_changed(document, ids.values())
                logger.info("Scheduled for removal document=%s products=%d", document.name, len(ids))
    except DatabaseError as error:  # a read-only database still shows its catalogue
        logger.warning("Cannot schedule removal document=%s error=%s", document.name, in_one_line(error))
