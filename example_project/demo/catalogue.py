"""The demo shop's products: what they are called, what they cost and how their picture is drawn.

Everything is derived from fixed seeds, so the same catalogue appears on every machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from demo_model_training.rendering import COLOURS, KINDS

PATTERN_WORDS = {"plain": "", "striped": "striped", "dotted": "dotted", "checked": "checked"}
PATTERN_PHRASES = {
    "plain": "in plain {colour}",
    "striped": "in {colour} with stripes",
    "dotted": "in {colour} with polka dots",
    "checked": "in a {colour} check",
}
# What a shop would really sell: nobody checks a guitar.
PATTERNS_OF_KIND: dict[str, tuple[str, ...]] = {
    "guitar": ("plain",),
    "headphones": ("plain",),
    "bottle": ("plain", "plain", "striped", "dotted"),
    "clock": ("plain", "plain", "plain", "dotted"),
    "chair": ("plain", "plain", "striped"),
    "sofa": ("plain", "plain", "striped", "checked"),
    "hat": ("plain", "plain", "striped"),
}
# Green and grey share their first three letters.
COLOUR_CODES = {"grey": "GRY"}
ALL_PATTERNS = ("plain", "striped", "plain", "dotted", "checked")

SERIES = (
    "Lisbon", "Juniper", "Harbour", "Marlow", "Oslo", "Clementine", "Tilda", "Bergen", "Willow", "Sienna",
    "Alba", "Cleo", "Dune", "Ferris", "Ginkgo", "Hazel", "Isla", "Kyoto", "Linden", "Maple", "Nara", "Otis",
    "Petra", "Quill", "Rowan", "Sorrel", "Tansy", "Umbria", "Verona", "Wren", "Yarrow", "Zephyr",
)  # fmt: skip

CLOSING = (
    "Made in small batches and packed without plastic.",
    "A present that always fits.",
    "Ready to ship from our own workshop.",
    "One of our customers' favourites.",
    "Designed to be used every day for years.",
    "New this season.",
    "Comes with a two-year guarantee.",
    "",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    name: str
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What all products of one kind share: the SKU's stem, nouns, price range and opening sentences."""

    stem: str
    category: Category
    nouns: tuple[str, ...]
    prices: tuple[int, int]
    openings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueProduct:
    """One product; ``render(kind, colour, pattern, seed=image_seed)`` draws its picture."""

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


KITCHEN = Category(name="Kitchen & table", slug="kitchen")
DECORATION = Category(name="Decoration", slug="decoration")
CLOTHING = Category(name="Clothing", slug="clothing")
ACCESSORIES = Category(name="Shoes & accessories", slug="accessories")
BAGS = Category(name="Bags", slug="bags")
FURNITURE = Category(name="Furniture", slug="furniture")
LIGHTING = Category(name="Lighting", slug="lighting")
MUSIC = Category(name="Music", slug="music")

# "{look}" becomes "in red with stripes".
LINES: dict[str, Line] = {
    "mug": Line(
        stem="MUG",
        category=KITCHEN,
        nouns=("mug", "coffee mug", "mug", "cup"),
        prices=(9, 19),
        openings=(
            "A generous stoneware mug {look} that keeps the first coffee of the day warm.",
            "Hand-glazed {look}, this cup sits well in the hand and goes into the dishwasher.",
        ),
    ),
    "teapot": Line(
        stem="TEA",
        category=KITCHEN,
        nouns=("teapot",),
        prices=(29, 59),
        openings=(
            "A teapot {look} for four, with a spout that does not drip.",
            "Porcelain {look}, with a lid that stays on while you pour the tea.",
        ),
    ),
    "bottle": Line(
        stem="BOT",
        category=KITCHEN,
        nouns=("bottle", "water bottle"),
        prices=(12, 29),
        openings=(
            "A bottle {look} that keeps water cool from breakfast to the last train.",
            "Leak-proof and light: a drinking bottle {look} for the office and the trail.",
        ),
    ),
    "vase": Line(
        stem="VAS",
        category=DECORATION,
        nouns=("vase", "flower vase"),
        prices=(19, 65),
        openings=(
            "A vase {look}, thrown on the wheel, for a single stem or a whole bunch of flowers.",
            "Glazed {look}, this vase brightens the windowsill even when it is empty.",
        ),
    ),
    "t-shirt": Line(
        stem="TSH",
        category=CLOTHING,
        nouns=("t-shirt", "tee", "t-shirt"),
        prices=(15, 35),
        openings=(
            "A t-shirt {look}, cut straight from soft organic cotton.",
            "The tee you reach for first: {look}, with a neckline that keeps its shape.",
        ),
    ),
    "dress": Line(
        stem="DRE",
        category=CLOTHING,
        nouns=("dress", "summer dress"),
        prices=(45, 95),
        openings=(
            "A dress {look} with a fitted waist and a skirt that swings.",
            "Light viscose {look}: a summer dress for gardens, terraces and late evenings.",
        ),
    ),
    "hat": Line(
        stem="HAT",
        category=ACCESSORIES,
        nouns=("hat",),
        prices=(19, 49),
        openings=(
            "A hat {look} that holds its shape in the suitcase and in the wind.",
            "Shade for sunny days: a hat {look} with a soft inner band.",
        ),
    ),
    "shoe": Line(
        stem="SHO",
        category=ACCESSORIES,
        nouns=("shoe", "sneaker", "shoe"),
        prices=(49, 119),
        openings=(
            "A shoe {look} with a cushioned sole for long days in town.",
            "Canvas {look}, laces that stay tied: a sneaker that goes with everything.",
        ),
    ),
    "backpack": Line(
        stem="BAC",
        category=BAGS,
        nouns=("backpack", "rucksack", "backpack"),
        prices=(39, 99),
        openings=(
            "A backpack {look} with room for a laptop, a lunch and a jumper.",
            "Water-repellent {look}, padded straps: a rucksack for school and weekends.",
        ),
    ),
    "handbag": Line(
        stem="HAN",
        category=BAGS,
        nouns=("handbag", "purse", "handbag"),
        prices=(49, 139),
        openings=(
            "A handbag {look} with a magnetic clasp and one pocket for keys.",
            "Compact outside and roomy inside: a handbag {look} for every day.",
        ),
    ),
    "umbrella": Line(
        stem="UMB",
        category=ACCESSORIES,
        nouns=("umbrella",),
        prices=(19, 45),
        openings=(
            "An umbrella {look} that shrugs off gusts and opens at one touch.",
            "Rain becomes a pleasure under this umbrella {look}, with eight fibreglass ribs.",
        ),
    ),
    "lamp": Line(
        stem="LAM",
        category=LIGHTING,
        nouns=("lamp", "table lamp"),
        prices=(39, 129),
        openings=(
            "A table lamp {look} that fills the corner with warm light.",
            "With its shade {look}, this lamp is good company for a book.",
        ),
    ),
    "chair": Line(
        stem="CHA",
        category=FURNITURE,
        nouns=("chair", "dining chair"),
        prices=(69, 189),
        openings=(
            "A chair {look} with a seat made for long dinners.",
            "Sturdy and light to lift, this chair comes {look}.",
        ),
    ),
    "sofa": Line(
        stem="SOF",
        category=FURNITURE,
        nouns=("sofa", "couch", "sofa"),
        prices=(499, 1499),
        openings=(
            "A sofa {look}, deep enough for an afternoon nap.",
            "Removable covers {look} and feather cushions: a couch for the whole family.",
        ),
    ),
    "clock": Line(
        stem="CLO",
        category=DECORATION,
        nouns=("clock", "wall clock"),
        prices=(25, 75),
        openings=(
            "A clock {look} with a movement so quiet that you forget the time.",
            "Easy to read from across the room: a wall clock with its rim {look}.",
        ),
    ),
    "cushion": Line(
        stem="CUS",
        category=DECORATION,
        nouns=("cushion", "pillow", "cushion"),
        prices=(15, 39),
        openings=(
            "A cushion {look} that makes any seat a favourite one.",
            "Soft linen {look}, with a hidden zip: a cushion to lean on.",
        ),
    ),
    "guitar": Line(
        stem="GUI",
        category=MUSIC,
        nouns=("guitar", "acoustic guitar"),
        prices=(129, 499),
        openings=(
            "A guitar {look} with a warm voice and an easy neck.",
            "For campfires and first songs: a guitar {look} that stays in tune.",
        ),
    ),
    "headphones": Line(
        stem="HEA",
        category=MUSIC,
        nouns=("headphones",),
        prices=(59, 249),
        openings=(
            "Headphones {look} that leave the noise of the street outside.",
            "Thirty hours on one charge: headphones {look} with soft ear pads.",
        ),
    ),
}


def product_texts(kind: str, colour: str, pattern: str, rng: random.Random) -> tuple[str, str]:
    """Return a product's name and description; the choice of words follows from ``rng``."""
    line = LINES[kind]
    words = [rng.choice(SERIES), colour, PATTERN_WORDS[pattern], rng.choice(line.nouns)]
    look = PATTERN_PHRASES[pattern].format(colour=colour)
    opening = rng.choice(line.openings).format(look=look)
    return " ".join(filter(None, words)), f"{opening} {rng.choice(CLOSING)}".strip()


def variants(kind: str) -> list[tuple[str, str]]:
    """Return the (colour, pattern) pairs a kind is sold in: every colour once, two colours a second time."""
    patterns = PATTERNS_OF_KIND.get(kind, ALL_PATTERNS)
    turn = KINDS.index(kind)
    colours = list(COLOURS)
    pairs = [(colour, patterns[(i + turn) % len(patterns)]) for i, colour in enumerate(colours)]
    again = [colours[(turn * 5) % len(colours)], colours[(turn * 5 + 7) % len(colours)]]
    return pairs + [(colour, patterns[(turn + i) % len(patterns)]) for i, colour in enumerate(again)]


def make_product(kind: str, colour: str, pattern: str, number: int) -> CatalogueProduct:
    line = LINES[kind]
    sku = f"{line.stem}-{COLOUR_CODES.get(colour, colour[:3].upper())}-{number:02d}"
    rng = random.Random(sku)
    name, description = product_texts(kind, colour, pattern, rng)
    low, high = line.prices
    return CatalogueProduct(
        sku=sku,
        name=name,
        description=description,
        category=line.category,
        price=Decimal(rng.randint(low, high)) + Decimal(rng.choice(("0.00", "0.50", "0.90"))),
        stock=rng.choice((0, 3, 8, 12, 25, 40, 60)),
        kind=kind,
        colour=colour,
        pattern=pattern,
        image_seed=rng.randrange(100_000),
    )


@cache
def _catalogue() -> tuple[CatalogueProduct, ...]:
    made: list[CatalogueProduct] = []
    names: set[str] = set()
    for kind in KINDS:
        seen: dict[str, int] = {}
        for colour, pattern in variants(kind):
            number = seen.get(colour, 0) + 1
            product = make_product(kind, colour, pattern, number)
            # A second product of the same look may draw the same name: take the next number's instead.
            while product.name in names:
                number += 1
                product = make_product(kind, colour, pattern, number)
            seen[colour] = number
            names.add(product.name)
            made.append(product)
    return tuple(made)


def products() -> list[CatalogueProduct]:
    """Return the demo's products, 14 of each kind, always the same and in the same order."""
    return list(_catalogue())
