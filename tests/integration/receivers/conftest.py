"""Fixtures for the tests of the signal receivers."""

from __future__ import annotations

import pytest

from clip_search.documents.registry import registry
from tests.shops.shop.models import Category, Product

from .actions import Raised, Watch


@pytest.fixture
def raised() -> Raised:
    """Return whose entries were raised since the last call, related changes followed."""
    return Watch(registry.get("product"))


@pytest.fixture
def mug(raised) -> Product:
    mug = Product.objects.create(name="Mug", sku="M-1")
    raised()
    return mug


@pytest.fixture
def cup(raised) -> Product:
    cup = Product.objects.create(name="Cup", sku="C-1")
    raised()
    return cup


@pytest.fixture
def kitchen(mug, raised) -> Category:
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug.category = kitchen
    mug.save()
    raised()
    return kitchen
