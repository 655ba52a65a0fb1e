"""Keep the words of a document's products in the database, for corrections and suggestions."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.db import Error as DatabaseError
from django.db import transaction

from ..documents.binding import BoundDocument
from ..exceptions import in_one_line
from ..models import IndexEntry, Vocabulary, Word
from .items import Item

logger = logging.getLogger(__name__)

RECOUNTED_SHARE = 0.01
"""The words are counted again when this share of the products was indexed since the last count.

Counting makes a nightly run over unchanged products slower by a tenth, and by a half if their texts have 300
words. Without it, new words are there nevertheless; only those of removed products stay.
"""


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


def must_count(document: BoundDocument) -> bool:
    """Return True if the words were never counted, or if many products were indexed since then."""
    rows = Vocabulary.objects.using(document.using).filter(document=document.name)
    counted_at = rows.values_list("counted_at", flat=True).first()
    if counted_at is None:
        return True
    entries = IndexEntry.objects.of(document)
    indexed = entries.filter(indexed_at__gt=counted_at).count()
    return indexed > 0 and indexed >= RECOUNTED_SHARE * entries.count()
