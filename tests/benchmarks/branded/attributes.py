"""The products: what is true of each. Texts, pictures, queries and judgments follow from this."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import count

from tests.samples.heldout_captions import COLOURS

from .words import BRANDS, CATEGORIES, KINDS, MATERIALS, MOTIFS, SIZES

MODELS = 230
"""Each is sold in 2 to 4 colours."""
PATTERNS = ("plain", "striped", "dotted")
CROWDING_KIND = "mug"
CROWDING_SHARE = 0.6
"""The kind that fills the crowded shop, and its share of that shop's models."""
CROSS_SELLING = 10
"""Every so manieth model has a cross-selling sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product. Products of one model differ in the colour only."""

    sku: str
    kind: str
    colour: str
    pattern: str
    """Only the picture shows it."""
    brand: str
    series: str
    number: str
    """The model number, such as XR-4200/2."""
    material: str
    size: str
    category: str
    motif: str
    advertises: tuple[str, str] | None
    """Another kind, and a colour, that a cross-selling sentence names. It says nothing of this product."""
    model: int
    """Which model this is; it seeds the text."""


@cache
def catalogue(seed: int, *, crowded: bool = False) -> tuple[Product, ...]:
    """Return the products of a shop. A crowded one is mostly of one kind."""
    rng = random.Random(seed)
    kinds, brands = dealt(KINDS, rng), dealt(tuple(BRANDS), rng)
    categories, motifs = dealt(tuple(CATEGORIES), rng), dealt(tuple(MOTIFS), rng)
    numbers = ModelNumbers(rng)
    products = []
    for model in range(MODELS):
        kind, brand = next(kinds), next(brands)
        if crowded and rng.random() < CROWDING_SHARE:
            kind = CROWDING_KIND
        series = rng.choice(BRANDS[brand])
        others = [other for other in KINDS if other != kind]
        advertised = (rng.choice(others), rng.choice(COLOURS))
        product = Product(
            sku="",
            kind=kind,
            colour="",
            pattern="plain",
            brand=brand,
            series=series,
            number=numbers.next(brand, series),
            material=rng.choice(MATERIALS[kind]),
            size=rng.choice(SIZES[kind]),
            category=next(categories),
            motif=next(motifs),
            advertises=advertised if model % CROSS_SELLING == 0 else None,
            model=model,
        )
        for colour in rng.sample(COLOURS, rng.randint(2, 4)):
            sku = f"{410_000 + 7 * len(products)}"
            products.append(replace(product, sku=sku, colour=colour, pattern=rng.choice(PATTERNS)))
    return tuple(products)


def dealt(values: tuple[str, ...], rng: random.Random) -> Iterator[str]:
    """Yield values at random for ever, each as often as the others."""
    while True:
        yield from rng.sample(values, len(values))


class ModelNumbers:
    """Makes model numbers, none twice. Each brand has its own form of them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.made: set[str] = set()
        self.families: dict[str, tuple[str, Iterator[int]]] = {}

    def next(self, brand: str, series: str) -> str:
        """Return the next number of a series."""
        form = list(BRANDS).index(brand) % 4
        while True:
            number = self._family(series) if form == 0 else self._single(form)
            if number not in self.made:
                self.made.add(number)
                return number

    def _family(self, series: str) -> str:
        """Return a number like XR-4200/2. The models of a series differ in what follows the slash."""
        if series not in self.families:
            base = f"{self._letters(2)}-{100 * self.rng.randint(11, 98)}"
            self.families[series] = (base, count(1))
        base, versions = self.families[series]
        return f"{base}/{next(versions)}"

    def _single(self, form: int) -> str:
        """Return a number like KD 310, T65-B or 90.412."""
        if form == 1:
            return f"{self._letters(2)} {self.rng.randint(101, 989)}"
        if form == 2:
            return f"{self._letters(1)}{self.rng.randint(51, 98)}-{self._letters(1)}"
        return f"{self.rng.randint(61, 98)}.{self.rng.randint(101, 989)}"

    def _letters(self, length: int) -> str:
        return "".join(self.rng.choice(string.ascii_uppercase) for _ in range(length))
