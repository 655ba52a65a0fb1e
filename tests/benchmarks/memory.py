"""What the full-size model makes of a catalogue: the most memory of a first run, and how fast later ones are.

A few photos are shown by all products, so that a batch has 16 of them to embed rather than 128: otherwise it
would take half an hour. What is held of a batch stays the same: of each product a photo is opened and shrunk.
"""

from __future__ import annotations

from collections.abc import Iterator

from .catalogue import first_run, later_runs, peak, shop_of
from .shop import Bench
from .table import Row

KIND = "memory"
PHOTOS = 16


def rows(bench: Bench) -> Iterator[Row]:
    _, low, _, most = bench.sizes.catalogue
    few, many = (first_run(bench, count, KIND, bench.model, PHOTOS) for count in (low, most))
    yield peak(low, few, most, many, floor=1.1)
    said = ", with the full-size model's vectors"
    yield from later_runs(bench, shop_of(most, KIND), most, said, model=bench.model)
