"""A process that uses an embedded store: `python -m tests.processes.sharing WHAT FOLDER SECONDS [DETAIL]`."""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import count

from clip_search.stores.base import Query, Retriever
from clip_search.stores.embedded.store import EmbeddedStore
from clip_search.types import IMAGE, TEXT
from tests.unit.store_contract.points import product, vector

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


def keep(store: EmbeddedStore, until: float, first: int) -> None:
    """Like `write`, but keep the collection open until another process wants it."""
    with store.keep_open():
        write(store, until, first)


def search(store: EmbeddedStore, until: float) -> None:
    """Search again and again; in the end say how long each search took, in seconds."""
    queries = [Query(retriever=Retriever(using=using, vector=vector(1))) for using in (TEXT, IMAGE)]
    seconds = []
    while time.monotonic() < until:
        start = time.monotonic()
        store.rank(COLLECTION, queries)
        seconds.append(time.monotonic() - start)
    say(sorted(seconds))


def hold(store: EmbeddedStore, until: float) -> None:
    """Keep the collection open; say so once it is."""
    with store.session(COLLECTION):
        say("held")
        time.sleep(max(0, until - time.monotonic()))


def use(store: EmbeddedStore, until: float) -> None:
    """Use the collection once, and go on with something else."""
    say(store.count(COLLECTION))
    time.sleep(max(0, until - time.monotonic()))


def fork(store: EmbeddedStore, until: float) -> None:
    """Fork while the collection is kept open; then both write and say how many there are."""
    store.count(COLLECTION)
    child = os.fork()
    store.put(COLLECTION, [product(2)])
    say(f"{'parent' if child else 'child'} {store.count(COLLECTION)}")
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    what, folder, seconds, *rest = sys.argv[1:]
    tasks = {"write": write, "keep": keep, "search": search, "hold": hold, "use": use, "fork": fork}
    tasks[what](EmbeddedStore(folder), time.monotonic() + float(seconds), *map(int, rest))
