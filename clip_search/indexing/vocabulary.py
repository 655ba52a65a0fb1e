"""Keep the words of a document's products in the database, for corrections and suggestions."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.db import Error as DatabaseError
from django.db import transaction

from ..documents.binding import BoundDocument
from ..exceptions import in_one_line
from ..models import Word
from .items import Item

logger = logging.getLogger(__name__)


def add_words(document: BoundDocument, items: Iterable[Item]) -> None:
    """Add the new words of products that were written. If the database fails, this is only logged."""
    words = [word for item in items if item.words for word in item.words.vocabulary]
    if not words:
        return
    try:
        with transaction.atomic(using=document.using):
            Word.objects.add(document, words)
    except DatabaseError as error:
        logger.warning("Cannot add words document=%s error=%s", document.name, in_one_line(error))
