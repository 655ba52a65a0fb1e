"""A process that uses an embedded store: `python -m tests.sharing write|search FOLDER SECONDS [FIRST]`."""

from __future__ import annotations

import json
import sys
import time
from itertools import count

from clip_search.stores.base import Leg, Query
from clip_search.stores.embedded import EmbeddedStore
from clip_search.types import IMAGE, TEXT

from .store_contract import product, vector

COLLECTION = "shop"
BATCH = 8


def say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def write(store: EmbeddedStore, until: float, first: int) -> None:
    """Put batch after batch; after each, say the number of the first product that is not written yet."""
    for number in count(first, BATCH):
        if time.monotonic() > until:
            return
        store.put(COLLECTION, [product(n) for n in range(number, number + BATCH)])
        say(number + BATCH)


def search(store: EmbeddedStore, until: float) -> None:
    """Search again and again; in the end say how long each search took, in seconds."""
    legs = [Leg(using=TEXT, vector=vector(1)), Leg(using=IMAGE, vector=vector(2))]
    seconds = []
    while time.monotonic() < until:
        start = time.monotonic()
        store.query(COLLECTION, Query(legs=legs))
        seconds.append(time.monotonic() - start)
    say(sorted(seconds))


def hold(store: EmbeddedStore, until: float) -> None:
    """Keep the collection open; say so once it is."""
    with store.held(COLLECTION):
        say("held")
        time.sleep(max(0, until - time.monotonic()))


if __name__ == "__main__":
    what, folder, seconds, *rest = sys.argv[1:]
    tasks = {"write": write, "search": search, "hold": hold}
    tasks[what](EmbeddedStore(folder), time.monotonic() + float(seconds), *map(int, rest))
