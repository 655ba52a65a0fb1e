"""Index products in the calling process instead of in a worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from django.db import Error as DatabaseError

from ..documents.binding import BoundDocument
from ..exceptions import ClipSearchError, in_one_line
from ..models import IndexEntry
from ..stores import get_store
from .pipeline import index_due
from .related import expand_related

logger = logging.getLogger(__name__)


def index_here(document: BoundDocument, product_ids: Iterable[str]) -> None:
    """Index products in this process, as the setting `QUEUE = None` demands.

    Related changes of the document are processed first. An error is logged, not raised; the products stay
    pending.
    """
    try:
        expanded = expand_related(document)
        with get_store().keep_open():  # opening an embedded store takes longer than embedding texts
            for _ in index_due(document, product_ids=[*product_ids, *expanded]):
                pass
    except (ClipSearchError, DatabaseError) as error:
        logger.error("Cannot index document=%s error=%s", document.name, in_one_line(error))


def index_now(document: BoundDocument, product_id: str, *, timeout: float = 5.0) -> IndexEntry:
    """Index one product in this process and return its entry.

    If a worker has claimed the entry, wait up to `timeout` seconds for that worker; the returned entry may
    still be pending then. If BackendUnavailable, SetupError or DatabaseError is raised, the entry stays
    pending.
    """
    deadline = time.monotonic() + timeout
    rows = IndexEntry.objects.of(document).filter(uuid=document.point_id(product_id))
    while True:
        with get_store().keep_open():
            for _ in index_due(document, product_ids=[product_id]):
                pass
        entry = rows.get()
        if entry.state != IndexEntry.State.PENDING or time.monotonic() > deadline:
            return entry
        time.sleep(0.05)
