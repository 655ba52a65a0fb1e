"""Write to an embedded store until its disk is full: `python -m tests.processes.filling FOLDER SEED`.

After each batch it prints the number of products written so far. When the store refuses a batch, it prints
"full" and exits with status 0.
"""

from __future__ import annotations

import random
import sys
from itertools import count
from pathlib import Path

import numpy as np

from clip_search.exceptions import StoreFull
from clip_search.stores.base import Schema
from clip_search.stores.embedded.store import EmbeddedStore
from clip_search.types import IMAGE, TEXT, Point, Stamp, point_id
from tests.processes.sharing import say

COLLECTION = "shop"
DIMENSION = 512


def fill(folder: Path, seed: int) -> None:
    """Write batches of every size and weight until the store is full."""
    chance, store = random.Random(seed), EmbeddedStore(folder)
    images = chance.choice([1, 1, 3])
    try:
        store.create(COLLECTION, Schema(dimension=DIMENSION, multiple_images=images > 1))
        written = 0
        for batch in count():
            size, weight = chance.choice([1, 16, 128]), chance.choice([100, 5_000, 150_000])
            numbers = range(written, written + size)
            store.put(COLLECTION, [heavy(number, weight, images, seed + batch) for number in numbers])
            written += size
            say(written)
    except StoreFull:
        say("full")


def heavy(number: int, weight: int, images: int = 1, seed: int = 0) -> Point:
    """Return product `number` with vectors of a real model's length and a payload of so many bytes."""
    chance = np.random.default_rng([seed, number])
    stamp = Stamp(product_id=str(number), revision=1, fingerprint="model", text_hash=str(number))
    pictures = chance.standard_normal((images, DIMENSION)).astype(np.float32)
    return Point(
        id=point_id("product", str(number)),
        stamp=stamp,
        payload={"name": chance.bytes(weight // 2).hex()},  # which cannot be compressed to less than half
        vectors={
            TEXT: chance.standard_normal(DIMENSION).astype(np.float32),
            IMAGE: pictures if images > 1 else pictures[0],
        },
    )


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
