"""The variants of the shop, and how one is filled and indexed."""

from __future__ import annotations

import io
import os
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import texts
from .attributes import Product, catalogue
from .words import ENGLISH, FRENCH, say

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SEED = 1
LANGUAGE, TEXT_MODEL = "CLIP_SEARCH_BENCH_LANGUAGE", "CLIP_SEARCH_BENCH_TEXT_MODEL"
"""Environment variables for the shop's settings. The second one is the folder of another model for texts."""
PICTURE_SIZE = 144
"""Twice what the demo's model reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A shop: its language, whether its texts name the colours, and whether it is crowded with one kind."""

    name: str
    language: str
    says_colour: bool = True
    crowded: bool = False

    def products(self) -> tuple[Product, ...]:
        return catalogue(SEED, crowded=self.crowded)

    def text(self, product: Product) -> dict[str, str]:
        """Return the texts that the shop has of a product."""
        return {
            "name": texts.name(product, self.language, says_colour=self.says_colour),
            "brand": product.brand,
            "category": say("category", product.category, self.language),
            "description": texts.description(product, self.language, says_colour=self.says_colour),
        }

    def vocabulary(self) -> set[str]:
        """Return all words of the shop's texts, in lower case."""
        everything = (" ".join(self.text(product).values()) for product in self.products())
        return {word for text in everything for word in re.findall(r"\w+", text.lower())}


VARIANTS = {
    f"{name}-{kind}": Variant(name=f"{name}-{kind}", language=language, **options)
    for name, language in (("english", ENGLISH), ("french", FRENCH))
    for kind, options in (
        ("complete", {}),
        ("colourless", {"says_colour": False}),
        ("crowded", {"crowded": True}),
    )
}


def set_up(variant: Variant, folder: Path) -> None:
    """Set up Django, fill the shop's tables and index it as `clip_reindex` does."""
    os.environ["CLIP_SEARCH_TEST_DATA"] = os.environ["CLIP_SEARCH_TEST_MEDIA"] = str(folder)
    os.environ[LANGUAGE] = variant.language
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.branded.settings"
    sys.path.insert(0, str(ROOT / "example_project"))
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, run_syncdb=True)
    fill(variant, folder / "photos")
    call_command("clip_reindex", verbosity=0)


def fill(variant: Variant, photos: Path) -> None:
    """Write the rows and draw the photos."""
    from clip_search.testing import pause_indexing

    from .models import Article, Brand, Category

    photos.mkdir()
    brands: dict[str, Any] = {}
    categories: dict[str, Any] = {}
    with pause_indexing():
        for product in variant.products():
            text = variant.text(product)
            brand, category = text["brand"], text["category"]
            brands[brand] = brands.get(brand) or Brand.objects.create(name=brand)
            categories[category] = categories.get(category) or Category.objects.create(name=category)
            (photos / f"{product.sku}.jpg").write_bytes(picture(product))
            Article.objects.create(
                sku=product.sku,
                name=text["name"],
                brand=brands[brand],
                category=categories[category],
                description=text["description"],
                photo=f"photos/{product.sku}.jpg",
            )


def picture(product: Product) -> bytes:
    """Return the product's photo as the demo's program draws it."""
    from demo_model_training.rendering import render

    drawn = render(
        product.kind,
        product.colour,
        product.pattern,
        size=PICTURE_SIZE,
        seed=random.Random(product.sku).randrange(10**6),
    )
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=90)
    return file.getvalue()


def shown(results: Any, limit: int) -> list[str]:
    """Return the SKUs that a shopper sees first: of the results, or else of the closest products."""
    rows: Sequence[Any] = list(results[:limit])
    return [row.sku for row in rows or list(getattr(results, "closest", ()))[:limit]]


def found(results: Any) -> list[str]:
    """Return the SKUs of everything that was found."""
    return [hit.product_id for hit in results.hits()]
