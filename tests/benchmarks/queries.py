"""Measure what a search costs beside its model and its engine: `python -m tests.benchmarks.queries [--json]`.

The model is a CLIP ViT-B/32 of random weights, whose text tower costs what the real one costs; the points
have random vectors, whose values change no cost. Each search gives a page of 24 products with their rows.
Searches and what they are compared with take turns, and each figure is a median, because machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = 24
WORDS = ("red", "blue", "striped", "small", "wooden", "mug", "lamp", "chair", "garden", "winter", "cotton")
WARMING_UP = 3
"""Rounds that do not count."""


def set_up(folder: str, products: int) -> Any:
    """Make a shop with so many products in an embedded store; returns its document."""
    os.environ["CLIP_SEARCH_TEST_DATA"] = folder
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings

    from tests.samples.clip_models import save_full_size

    model = save_full_size(Path(folder) / "model")
    settings.DEBUG = False  # or Django keeps every statement
    settings.CLIP_SEARCH = {"QDRANT": {"path": f"{folder}/qdrant"}, "MODEL": str(model), "QUEUE": None}
    django.setup()
    from django.core.management import call_command

    from clip_search.documents.registry import registry

    call_command("migrate", verbosity=0)
    document = registry.get("product")
    fill(document, products)
    return document


def fill(document: Any, products: int) -> None:
    """Write rows, and points that say what indexing them would, but for their vectors."""
    from clip_search.indexing.targets import get_target
    from clip_search.types import IMAGE, TEXT, Point, Stamp
    from tests.shops.shop.models import Product

    rng = np.random.default_rng(1)
    names = (f"{rng.choice(WORDS)} {rng.choice(WORDS)} {number}" for number in range(products))
    rows = Product.objects.bulk_create(
        [Product(name=name, sku=f"SKU-{number}", price=number % 90) for number, name in enumerate(names)],
        batch_size=500,
    )
    target = get_target(document)
    for start in range(0, products, 1000):
        points = []
        for row in rows[start : start + 1000]:
            content = document.content(row)
            vectors = unit(rng.standard_normal((2, target.encoder.dimension), np.float32))
            stamp = Stamp(
                product_id=content.product_id,
                revision=1,
                fingerprint=target.encoder.fingerprint,
                exact=content.exact,
            )
            points.append(
                Point(
                    id=document.point_id(content.product_id),
                    stamp=stamp,
                    payload=dict(content.payload),
                    vectors={TEXT: vectors[0], IMAGE: vectors[1]},
                )
            )
        target.store.put(target.collections[0].name, points)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def queries() -> Iterator[str]:
    """Yield queries of three words, none twice."""
    rng = np.random.default_rng(2)
    for number in count():
        yield f"{rng.choice(WORDS)} {rng.choice(WORDS)} {number}"


class Bench:
    """The searches, and what they are compared with."""

    def __init__(self, document: Any) -> None:
        from clip_search.encoders import get_encoder
        from clip_search.searching.live_collection import get_live_collection

        self.document, self.encoder, self.live = document, get_encoder(), get_live_collection(document)
        self.encoder.warm_up(images=False)
        self.texts = queries()

    def search(self, text: str) -> None:
        """Search as a shop does: a page of rows in rank order."""
        if len(list(type(self.document.declaration).search(text)[:PAGE])) != PAGE:
            raise AssertionError("The page is not full: this would measure something else.")

    def encode(self, text: str) -> np.ndarray:
        """Embed what a search for this text asks the model."""
        return self.encoder.embed_texts([self.document.declaration.query_prompt.replace("{query}", text)])[0]

    def ask(self, vector: np.ndarray) -> None:
        """Ask the engine alone for a page: one fused query, in the engine's own words."""
        from clip_search.searching import DEPTH
        from clip_search.stores.base import Query, Retriever
        from clip_search.stores.embedded.engine import search_of
        from clip_search.types import IMAGE, TEXT

        store: Any = self.live.store
        retrievers = [Retriever(using=TEXT, vector=vector), Retriever(using=IMAGE, vector=vector)]
        fused = search_of(store._edge, Query(retrievers=retrievers, limit=PAGE, depth=DEPTH), None)
        with store.session(self.live.collection.name, stay_open=True) as shard:
            shard.query(store._edge.QueryRequest(limit=PAGE, offset=0, with_payload=True, **fused))

    def round(self) -> dict[str, float]:
        """Return the seconds that each takes, one after the other."""
        text, other = next(self.texts), next(self.texts)
        vector = self.encode(text)
        found = {
            "encode": seconds(lambda: self.encode(other)),
            "engine": seconds(lambda: self.ask(vector)),
            "warm": seconds(lambda: self.search(text)),
        }
        return found | {"engine again": seconds(lambda: self.ask(vector))} | self.cached(text)

    def cached(self, text: str) -> dict[str, float]:
        """Return the seconds of a search whose query is in the cache."""
        return {"cached": seconds(lambda: self.search(text))}

    def statements(self) -> int:
        """Return how many statements the database gets for a page."""
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as captured:
            self.search(next(self.texts))
        return len(captured)


def seconds(task: Callable[[], object]) -> float:
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def rows(bench: Bench, rounds: int) -> list[dict[str, Any]]:
    """Measure. `ratio` is the median of the rounds' ratios, `at_most` what it may be."""
    with bench.engine.store.session(bench.engine.collection.name):
        in_session = [bench.round() for _ in range(rounds + WARMING_UP)][WARMING_UP:]
    alone = [bench.round() for _ in range(rounds // 4 + WARMING_UP)][WARMING_UP:]
    with neighbour(bench):
        shared = [bench.round() for _ in range(rounds // 4 + WARMING_UP)][WARMING_UP:]
    return [
        row("text query, warm", in_session, "warm", ("encode", "engine"), 1.15),
        row("text query, cached", in_session, "cached", ("engine again",), 1.5),
        row("text query, warm, no session", alone, "warm", ("encode", "engine")),
        row("text query, cached, no session", alone, "cached", ("engine again",)),
        row("text query, warm, shared by two", shared, "warm", ("encode", "engine")),
        row("text query, cached, shared by two", shared, "cached", ("engine again",)),
        {"figure": "statements of the database a page", "value": bench.statements(), "at_most": 2},
    ]


@contextmanager
def neighbour(bench: Bench) -> Iterator[None]:
    """Have another process use the store all the time, with a fifth of a second between."""
    collection, store = bench.engine.collection.name, bench.engine.store
    code = f"""if True:
        import time
        from clip_search.stores.embedded.store import EmbeddedStore
        store = EmbeddedStore({str(store._path)!r})
        while True:
            store.count({collection!r})
            time.sleep(0.2)"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def row(
    figure: str,
    rounds: Sequence[Mapping[str, float]],
    name: str,
    against: Sequence[str],
    at_most: float | None = None,
) -> dict[str, Any]:
    baselines = [sum(one[part] for part in against) for one in rounds]
    return {
        "figure": figure,
        "value": 1000 * median(one[name] for one in rounds),
        "baseline": 1000 * median(baselines),
        "ratio": median(one[name] / base for one, base in zip(rounds, baselines, strict=True)),
        "at_most": at_most,
    }


def show(found: Sequence[Mapping[str, Any]]) -> None:
    print(f"{'figure':42} {'ms':>8} {'baseline':>9} {'ratio':>6} {'at most':>8}")
    for one in found:
        numbers = (one.get(name) for name in ("value", "baseline", "ratio", "at_most"))
        print(f"{one['figure']:42}", *(f"{'' if n is None else format(n, '.2f'):>8}" for n in numbers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(set_up(folder, options.products))
        found = rows(bench, options.rounds)
        bench.engine.store.close()  # or it is still open when its folder goes
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{options.products} products, {options.rounds} rounds; baseline: encode and engine, or engine\n")
    show(found)


if __name__ == "__main__":
    main()
