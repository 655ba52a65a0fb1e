"""Save products for real workers, and look at what the workers did with them."""

from __future__ import annotations

import subprocess
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import transaction

from clip_search.documents.registry import registry
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.testing import HashingEncoder
from clip_search.types import IMAGE, TEXT
from tests.conftest import PATIENCE, picture_bytes, wait_until
from tests.shops.shop.models import Product, ProductImage

DOCUMENT = registry.get("product")
State = IndexEntry.State


def save(number: int) -> Product:
    """Save a product with a picture of its own, as two saves or as one transaction."""
    with transaction.atomic() if number % 2 else nullcontext():
        product = Product.objects.create(name=f"Product {number}", sku=f"P-{number}")
        content = ContentFile(picture_bytes(f"rgb({number},90,{number // 2})"), name="picture.png")
        ProductImage.objects.create(product=product, original=content)
    return product


def indexed() -> int:
    return IndexEntry.objects.filter(state=State.INDEXED).count()


def all_indexed() -> bool:
    """Wait until every entry is indexed. Return whether they are."""
    return wait_until(lambda: not IndexEntry.objects.exclude(state=State.INDEXED).exists())


def embedded(counts: Path, kind: str) -> Counter[str]:
    return Counter(line for line in counts.read_text().splitlines() if line.startswith(kind))


def assert_in_step(count: int) -> None:
    """Assert that every product has a complete point with the content of its row, and no other exists."""
    (name,) = (collection.name for collection in Collection.objects.of(DOCUMENT).active())
    rows = {DOCUMENT.point_id(str(product.pk)): product for product in Product.objects.all()}
    points = get_store().get(name, list(rows), vectors=True)
    assert get_store().count(name) == len(points) == len(rows) == count
    encoder = HashingEncoder()
    for key, point in points.items():
        assert set(point.vectors) == {TEXT, IMAGE}
        expected = encoder.embed_texts([rows[key].name])[0]
        assert point.vectors[TEXT] == pytest.approx(expected, abs=1e-5)


def ended(worker: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait until a worker has ended. Return its status and what it printed."""
    output, _ = worker.communicate(timeout=PATIENCE)
    return worker.returncode, output
