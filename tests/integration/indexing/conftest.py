"""Fixtures for the tests of indexing."""

from __future__ import annotations

import pytest

from clip_search.encoders import get_encoder
from tests.doubles.stores import FaultyStore
from tests.shops.shop.models import Product

from .actions import index, show


@pytest.fixture(autouse=True)
def doubles(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.CountingEncoder",
        "QDRANT": {"backend": "tests.doubles.stores.FaultyStore"},
    }
    yield
    FaultyStore.faults = []


@pytest.fixture
def mug() -> Product:
    """An indexed product with a picture."""
    product = Product.objects.create(name="Red mug", sku="M-1", description="for tea")
    show(product, "red")
    assert index().embedded == 1
    assert get_encoder().take() == (1, 1)
    return product
