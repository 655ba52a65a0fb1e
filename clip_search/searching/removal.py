"""Schedule the removal of points whose row no longer exists."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.db import DatabaseError, transaction
from django.db.models import Q

from ..documents.binding import BoundDocument
from ..exceptions import in_one_line
from ..models import IndexEntry
from ..types import MODEL_SOURCE

logger = logging.getLogger(__name__)


def schedule_removal(document: BoundDocument, product_ids: Iterable[str]) -> None:
    """Schedule the removal of products whose row no longer exists. An idle worker removes them within 30 s.

    Entries that are already pending are left alone: each mark raises the revision, so many visitors of one
    page could mark an entry more often than a worker can finish it. Entries of posted products are left alone
    because such a product needs no row.
    """
    ids = {document.point_id(product_id): product_id for product_id in product_ids}
    entries = IndexEntry.objects.of(document).filter(uuid__in=ids)
    try:
        with transaction.atomic(using=document.using):
            settled = ~Q(source=MODEL_SOURCE) | Q(state=IndexEntry.State.PENDING)
            for key in entries.filter(settled).values_list("uuid", flat=True):
                del ids[key]
            if ids:
                IndexEntry.objects.mark_changed(document, ids.values())
                logger.info("Products will be removed document=%s products=%d", document.name, len(ids))
    except DatabaseError as error:  # with a read-only database, search must still work
        logger.warning("Cannot schedule removal document=%s error=%s", document.name, in_one_line(error))
