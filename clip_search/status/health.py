"""`find_outage()`: whether this process can answer searches, in two cheap questions."""

from __future__ import annotations

import logging

from django.db import Error as DatabaseError

from ..documents.registry import registry
from ..exceptions import ClipSearchError, in_one_line
from ..models import Collection
from ..stores import get_store

logger = logging.getLogger(__name__)


def find_outage() -> str:
    """Return "database" or "store" if it does not answer this process, or "".

    The database is asked for the live collections, and the store whether it has the first of them. That
    nothing is indexed, or that the store has lost a collection, is no outage: no other web server could
    answer either. The reason is logged.
    """
    try:
        live = [found for document in registry if (found := Collection.objects.live(document))]
    except DatabaseError as error:
        logger.warning("The database does not answer error=%s", in_one_line(error))
        return "database"
    try:
        if live:
            get_store().exists(live[0].name)
    except ClipSearchError as error:
        logger.warning("The store does not answer error=%s", in_one_line(error))
        return "store"
    return ""
