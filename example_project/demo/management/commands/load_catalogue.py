"""Fill the shop with the demo's catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone
from django.utils.translation import ngettext

from demo import catalogue, pictures
from shop.clip_documents import ProductDocument
from shop.models import Category, Product, ProductImage


class Command(BaseCommand):
    help = "Fills an empty shop with the demo's catalogue. Does nothing if the shop has products."

    def handle(self, *args: Any, **options: Any) -> None:
        if Product.objects.exists():  # do not bring back products that staff deleted
            self.stdout.write("The shop already has products.")
            return
        entries = catalogue.products()
        add(entries)
        added = ngettext("%d product added.", "%d products added.", len(entries))
        self.stdout.write(added % len(entries))


def add(entries: Sequence[catalogue.CatalogueProduct]) -> None:
    """Create the products with their pictures, and schedule them for indexing."""
    files = list(pictures.draw(entries))  # before the transaction, which locks SQLite for all other writers
    with transaction.atomic():
        categories = {entry.category.slug: get_category(entry.category) for entry in entries}
        products = Product.objects.bulk_create(
            unsaved_product(entry, categories[entry.category.slug]) for entry in entries
        )
        ProductImage.objects.bulk_create(
            ProductImage(product=product, original=ContentFile(file, name=f"{product.sku.lower()}.jpg"))
            for product, file in zip(products, files, strict=True)
        )
        # bulk_create() sends no signals, so indexing must be scheduled explicitly. In the same transaction,
        # so that no product can be committed without it.
        ProductDocument.reindex(Product.objects.filter(pk__in=[product.pk for product in products]))


def get_category(category: catalogue.Category) -> Category:
    """Return the shop's category. Create it if it does not exist."""
    parent = get_category(category.parent) if category.parent else None
    values = {"name": category.name, "parent": parent}
    return Category.objects.get_or_create(slug=category.slug, defaults=values)[0]


def unsaved_product(entry: catalogue.CatalogueProduct, category: Category) -> Product:
    """Return the catalogue's product as a model instance."""
    return Product(
        name=entry.name,
        sku=entry.sku,
        description=entry.description,
        category=category,
        colour=entry.colour,
        price=entry.price,
        stock=entry.stock,
        created=timezone.now() - timedelta(days=entry.days),
    )
