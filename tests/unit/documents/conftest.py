"""Fixtures for the tests of documents."""

from __future__ import annotations

import pytest

from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry


@pytest.fixture
def document() -> BoundDocument:
    return registry.get("product")
