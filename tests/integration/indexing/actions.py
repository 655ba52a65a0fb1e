"""What tests of indexing do, and what they read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from django.core.files.base import ContentFile
from django.utils import timezone

from clip_search import indexing
from clip_search.documents.registry import registry
from clip_search.encoders import get_encoder
from clip_search.indexing import targets
from clip_search.indexing.embedding import ImageLoader, embed, split_by_embedding
from clip_search.indexing.reading import read_items, read_points
from clip_search.indexing.writing import finish, write
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.stores import get_store
from clip_search.types import TEXT, Point, Report
from tests.conftest import forget_declarations, picture_bytes
from tests.shops.shop.models import Product, ProductImage

DOCUMENT = registry.get("product")
State = IndexEntry.State


def reports(limit: int = indexing.BATCH, **options) -> Iterator[Report]:
    return indexing.index_due(DOCUMENT, **{"next_batch_size": lambda: limit} | options)


def index(limit: int = indexing.BATCH, **options) -> Report:
    """Index what is due; on_commit does not run in these tests, so that each step is theirs."""
    return sum(reports(limit, **options), Report())


def entry(product: Product | int) -> IndexEntry:
    return IndexEntry.objects.get(document="product", product_id=str(getattr(product, "pk", product)))


def collection() -> str:
    return Collection.objects.of(DOCUMENT).active()[0].name


def point(product: Product | int, name: str | None = None) -> Point | None:
    key = DOCUMENT.point_id(str(getattr(product, "pk", product)))
    return get_store().get(name or collection(), [key], vectors=True).get(key)


def due_now() -> None:
    """Let the time of every backoff pass."""
    IndexEntry.objects.update(not_before=timezone.now())


def override(monkeypatch, hook: str, method: Callable) -> None:
    """Override a hook of the document."""
    monkeypatch.setattr(type(DOCUMENT.declaration), hook, staticmethod(method))
    forget_declarations()


def show(product: Product, *colours: str) -> list[ProductImage]:
    return [
        ProductImage.objects.create(
            product=product, position=place, original=ContentFile(picture_bytes(colour), name=f"{colour}.png")
        )
        for place, colour in enumerate(colours)
    ]


class Stalled:
    """A worker that has claimed, read and embedded, and goes on only when told."""

    def __init__(self) -> None:
        self.target = targets.get_target(DOCUMENT)
        entries = IndexEntry.objects.of(DOCUMENT).claim(10, indexing.LEASE)
        self.items = read_items(self.target, entries, lambda: None)
        read_points(self.target, self.items, vectors=True)
        waiting, _ = split_by_embedding(self.items)
        loader = ImageLoader(1)
        for item in waiting:
            loader.load(item, self.target.encoder)
        embed(self.target.encoder, waiting, lambda: False)
        loader.shut_down()

    def wake(self) -> Report:
        write(self.target, self.items)
        return finish(self.target, self.items)


def text_of(product: Product | int, text: str) -> bool:
    expected = get_encoder().embed_texts([text])[0]
    return bool(np.allclose(point(product).vectors[TEXT], expected, atol=1e-6))


def post_again(product: Product) -> None:
    PostedProduct.objects.save_product(DOCUMENT, str(product.pk), {"name": "Posted mug"})
    IndexEntry.objects.mark_changed(DOCUMENT, [str(product.pk)], source="posted")
