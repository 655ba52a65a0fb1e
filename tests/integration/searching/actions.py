"""What tests of searching do: make products, index them, read results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.core.files.base import ContentFile

from clip_search import indexing
from clip_search.documents.binding import BoundDocument
from clip_search.models import IndexEntry, PostedProduct
from clip_search.searching import SearchResults
from clip_search.testing import pause_indexing
from clip_search.types import POSTED_SOURCE
from tests.conftest import picture_bytes
from tests.shops.shop.models import Product, ProductImage

COLOURS = ("red", "blue", "green", "yellow", "black", "white")
THINGS = ("mug", "cup", "vase", "lamp", "chair", "bowl", "plate", "spoon", "clock", "towel")


def make(names: Iterable[str], **fields: Any) -> list[Product]:
    rows = [Product(name=name, sku=f"SKU-{number:04d}", **fields) for number, name in enumerate(names)]
    return Product.objects.bulk_create(rows)


def index(document: BoundDocument, products: Iterable[Product] | None = None) -> None:
    """Have products indexed, here and now."""
    rows = Product.objects.all() if products is None else products
    IndexEntry.objects.mark_changed(document, document.product_ids(rows))
    index_due(document)


def index_due(document: BoundDocument) -> None:
    for _report in indexing.index_due(document):
        pass


def with_pictures(products: list[Product], colours: Iterable[str]) -> None:
    with pause_indexing():
        for product, colour in zip(products, colours, strict=False):
            picture = ContentFile(picture_bytes(colour), name=f"{product.pk}.png")
            ProductImage.objects.create(product=product, original=picture)


def keys(results: Iterable[Product]) -> list[int]:
    return [product.pk for product in results]


def counted(results: SearchResults[Any], key: str, **options: Any) -> dict[Any, int]:
    """Return the counts of a facet by value."""
    return {each.value: each.count for each in results.facets(key, **options)[key]}


def post(document: BoundDocument, product_id: str, name: str, **metadata: Any) -> None:
    PostedProduct.objects.save_product(document, product_id, {"name": name, "metadata": metadata})
    IndexEntry.objects.mark_changed(document, [product_id], source=POSTED_SOURCE)
    index_due(document)


async def in_a_list(results: SearchResults[Any]) -> list[Any]:
    """Return what asynchronous code sees."""
    return [row async for row in results]


def fail_with(error: Exception) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> Any:
        raise error

    return fail


def unpublish(products: Iterable[Product]) -> None:
    """Change rows behind the back of the index."""
    Product.objects.filter(pk__in=keys(products)).update(is_public=False)
