"""Fill the shop with the demo catalogue."""

from __future__ import annotations

from typing import Any

from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand
from django.db import transaction

from demo import catalogue, pictures
from shop.clip_documents import ProductDocument
from shop.models import Category, Product, ProductImage


class Command(BaseCommand):
    help = "Fills an empty shop with the demo catalogue. A shop that has products is left as it is."

    def handle(self, *args: Any, **options: Any) -> None:
        if Product.objects.exists():  # the shopkeeper's now: what was deleted does not come back
            self.stdout.write("The shop has products already.")
            return
        wanted = catalogue.products()
        add(wanted)
        self.stdout.write(f"{len(wanted)} products added.")


def add(wanted: list[catalogue.CatalogueProduct]) -> None:
    """Create products and pictures in few statements, and have them indexed."""
    files = list(pictures.draw(wanted))  # before the transaction: it holds SQLite's only write lock
    with transaction.atomic():
        categories = {product.category.slug: shelf(product.category) for product in wanted}
        products = Product.objects.bulk_create(
            row(product, categories[product.category.slug]) for product in wanted
        )
        ProductImage.objects.bulk_create(
            ProductImage(product=product, original=ContentFile(file, name=f"{product.sku.lower()}.jpg"))
            for product, file in zip(products, files, strict=True)
        )
        # Signals do not see bulk_create, so this says it: still inside the transaction, so that
        # products and the promise to index them are committed together.
        ProductDocument.reindex(Product.objects.filter(pk__in=[product.pk for product in products]))


def shelf(category: catalogue.Category) -> Category:
    """Return the shop's category, made if need be."""
    return Category.objects.get_or_create(slug=category.slug, defaults={"name": category.name})[0]


def row(product: catalogue.CatalogueProduct, category: Category) -> Product:
    """Return a product of the catalogue as a row that is not saved yet."""
    return Product(
        name=product.name,
        sku=product.sku,
        description=product.description,
        category=category,
        colour=product.colour,
        price=product.price,
        stock=product.stock,
    )
