"""What tests of the queue and its jobs use."""

from __future__ import annotations

import pytest

from clip_search import outbox
from clip_search.documents.registry import registry
from clip_search.models import Collection, IndexEntry
from tests.shops.shop.models import Product

two_databases = pytest.mark.django_db(transaction=True, databases=["default", "other"])
DOCUMENT = registry.get("product")
PENDING, INDEXED = IndexEntry.State.PENDING, IndexEntry.State.INDEXED


def many(count: int) -> None:
    """Create products without signals and schedule them. No worker is woken."""
    made = Product.objects.bulk_create(Product(name=f"Chair {n}", sku=f"C-{n}") for n in range(count))
    outbox.schedule(DOCUMENT, [str(product.pk) for product in made], wake=False)


def collection() -> str:
    """Return the name of the only one."""
    (found,) = Collection.objects.of(DOCUMENT).active()
    return found.name


def states() -> set[str]:
    return set(IndexEntry.objects.values_list("state", flat=True))
