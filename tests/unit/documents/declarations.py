"""Documents that tests declare."""

from __future__ import annotations

import datetime

from clip_search import Document
from clip_search.documents.binding import BoundDocument
from tests.shops.shop.models import Product

NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)


def declare(model=Product, **attributes) -> BoundDocument:
    """Declare a document, unregistered."""
    return BoundDocument(type("Declared", (Document,), attributes)(model))
