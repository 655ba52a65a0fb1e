"""The demo's products: their names, prices and stock, and what their pictures show.

All values follow from fixed seeds, so the catalogue is the same on every machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from demo_model_training.kinds import KINDS
from demo_model_training.product_texts import product_texts
from demo_model_training.rendering import COLOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    name: str
    slug: str
    parent: Category | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductLine:
    """What all products of one kind have in common; `prices` are the lowest and the highest one."""

    sku_prefix: str
    category: Category
    prices: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueProduct:
    """One product. `render(kind, colour, pattern, seed=image_seed)` draws its picture."""

    sku: str
    name: str
    description: str
    category: Category
    price: Decimal
    stock: int
    kind: str
    colour: str
    pattern: str
    image_seed: int
    days: int
    """How many days ago the product came into the shop."""


HOME = Category(name="Home", slug="home")
FASHION = Category(name="Fashion", slug="fashion")
KITCHEN = Category(name="Kitchen", slug="kitchen", parent=HOME)
DECORATION = Category(name="Decoration", slug="decoration", parent=HOME)
FURNITURE = Category(name="Furniture", slug="furniture", parent=HOME)
LIGHTING = Category(name="Lighting", slug="lighting", parent=HOME)
CLOTHING = Category(name="Clothing", slug="clothing", parent=FASHION)
# Not "Shoes & accessories": the words of a category find its products, and "shoes" should find no hat.
SHOES = Category(name="Shoes", slug="shoes", parent=FASHION)
ACCESSORIES = Category(name="Accessories", slug="accessories", parent=FASHION)
BAGS = Category(name="Bags", slug="bags", parent=FASHION)
MUSIC = Category(name="Music", slug="music")

PRODUCT_LINES: dict[str, ProductLine] = {
    "mug": ProductLine(sku_prefix="MUG", category=KITCHEN, prices=(9, 19)),
    "teapot": ProductLine(sku_prefix="TEA", category=KITCHEN, prices=(29, 59)),
    "bottle": ProductLine(sku_prefix="BOT", category=KITCHEN, prices=(12, 29)),
    "vase": ProductLine(sku_prefix="VAS", category=DECORATION, prices=(19, 65)),
    "t-shirt": ProductLine(sku_prefix="TSH", category=CLOTHING, prices=(15, 35)),
    "dress": ProductLine(sku_prefix="DRE", category=CLOTHING, prices=(45, 95)),
    "hat": ProductLine(sku_prefix="HAT", category=ACCESSORIES, prices=(19, 49)),
    "shoe": ProductLine(sku_prefix="SHO", category=SHOES, prices=(49, 119)),
    "backpack": ProductLine(sku_prefix="BAC", category=BAGS, prices=(39, 99)),
    "handbag": ProductLine(sku_prefix="HAN", category=BAGS, prices=(49, 139)),
    "umbrella": ProductLine(sku_prefix="UMB", category=ACCESSORIES, prices=(19, 45)),
    "lamp": ProductLine(sku_prefix="LAM", category=LIGHTING, prices=(39, 129)),
    "chair": ProductLine(sku_prefix="CHA", category=FURNITURE, prices=(69, 189)),
    "sofa": ProductLine(sku_prefix="SOF", category=FURNITURE, prices=(499, 1499)),
    "clock": ProductLine(sku_prefix="CLO", category=DECORATION, prices=(25, 75)),
    "cushion": ProductLine(sku_prefix="CUS", category=DECORATION, prices=(15, 39)),
    "guitar": ProductLine(sku_prefix="GUI", category=MUSIC, prices=(129, 499)),
    "headphones": ProductLine(sku_prefix="HEA", category=MUSIC, prices=(59, 249)),
}
# Shops do not sell checked guitars. A pattern that is named twice is twice as frequent.
PATTERNS_OF_KIND: dict[str, tuple[str, ...]] = {
    "guitar": ("plain",),
    "headphones": ("plain",),
    "bottle": ("plain", "plain", "striped", "dotted"),
    "clock": ("plain", "plain", "plain", "dotted"),
    "chair": ("plain", "plain", "striped"),
    "sofa": ("plain", "plain", "striped", "checked"),
    "hat": ("plain", "plain", "striped"),
}
DEFAULT_PATTERNS = ("plain", "striped", "plain", "dotted", "checked")
# SKUs have the first three letters of the colour; "grey" and "green" would be the same.
COLOUR_CODES = {"grey": "GRY"}


@cache
def products() -> tuple[CatalogueProduct, ...]:
    """Return the 252 products of the demo, 14 of each kind, always in the same order."""
    made: list[CatalogueProduct] = []
    names: set[str] = set()
    for kind in KINDS:
        last_number: dict[str, int] = {}
        for colour, pattern in colours_and_patterns(kind):
            number = last_number.get(colour, 0) + 1
            product = make_product(kind, colour, pattern, number)
            while product.name in names:  # another number gives another name
                number += 1
                product = make_product(kind, colour, pattern, number)
            last_number[colour] = number
            names.add(product.name)
            made.append(product)
    return tuple(made)


def colours_and_patterns(kind: str) -> list[tuple[str, str]]:
    """Return the looks that a kind is sold in: one for each of the 12 colours, and two more."""
    patterns = PATTERNS_OF_KIND.get(kind, DEFAULT_PATTERNS)
    shift = KINDS.index(kind)  # so that kinds differ in which colour is striped
    colours = list(COLOURS)
    looks = [(colour, patterns[(i + shift) % len(patterns)]) for i, colour in enumerate(colours)]
    more = [colours[(shift * 5) % len(colours)], colours[(shift * 5 + 7) % len(colours)]]
    return looks + [(colour, patterns[(shift + i) % len(patterns)]) for i, colour in enumerate(more)]


def make_product(kind: str, colour: str, pattern: str, number: int) -> CatalogueProduct:
    """Return the product with this number among those of its kind and colour."""
    line = PRODUCT_LINES[kind]
    sku = f"{line.sku_prefix}-{COLOUR_CODES.get(colour, colour[:3].upper())}-{number:02d}"
    rng = random.Random(sku)
    name, description = product_texts(kind, colour, pattern, rng)
    lowest, highest = line.prices
    return CatalogueProduct(
        sku=sku,
        name=name,
        description=description,
        category=line.category,
        price=Decimal(rng.randint(lowest, highest)) + Decimal(rng.choice(("0.00", "0.50", "0.90"))),
        stock=rng.choice((0, 3, 8, 12, 25, 40, 60)),
        kind=kind,
        colour=colour,
        pattern=pattern,
        image_seed=rng.randrange(100_000),
        days=rng.randrange(1, 365),
    )
