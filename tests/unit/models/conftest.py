"""Fixtures for the tests of the models."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.models import IndexEntry


@pytest.fixture
def document() -> BoundDocument:
    return registry.get("product")


@pytest.fixture
def entries(document):
    return IndexEntry.objects.of(document)


@pytest.fixture
def marked(document) -> Callable[..., list[IndexEntry]]:
    """Return a function that marks products as changed and returns all entries."""

    def mark(*product_ids: str, **options: str) -> list[IndexEntry]:
        IndexEntry.objects.mark_changed(document, product_ids, **options)
        return list(IndexEntry.objects.of(document).order_by("product_id"))

    return mark
