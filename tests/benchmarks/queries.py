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
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = 24
WORDS = ("red", "blue", "striped", "small", "wooden", "mug", "lamp", "chair", "garden", "winter", "cotton")
EMPTY = ("the", "a", "an", "some", "any", "with", "for", "of", "in", "on", "my", "our", "your", "these")
"""Words that carry no meaning make a query new, and leave what it finds as it is."""
DEPTH = 100
TEXT_LENGTHS = (20, 300)
MEASURED_FOR_SIZE = 2000
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
    from clip_search.models import Word
    from tests.shops.shop.models import Category, Product

    rng = np.random.default_rng(1)
    categories = Category.objects.bulk_create([Category(name=word, slug=word) for word in WORDS])
    names = (f"{rng.choice(WORDS)} {rng.choice(WORDS)} {number}" for number in range(products))
    rows = Product.objects.bulk_create(
        [
            Product(
                name=name,
                sku=f"SKU-{number}",
                price=number % 90,
                in_stock=bool(number % 3),
                category=categories[number % len(categories)],
            )
            for number, name in enumerate(names)
        ],
        batch_size=500,
    )
    target = get_target(document)
    for start in range(0, products, 1000):
        points = [point_of(document, target, row, rng) for row in rows[start : start + 1000]]
        target.store.put(target.collections[0].name, points)
    Word.objects.replace(document, dict.fromkeys(WORDS, products // len(WORDS)))


def point_of(document: Any, target: Any, row: Any, rng: np.random.Generator) -> Any:
    """Return the point of a row, with random vectors."""
    from clip_search.types import IMAGE, TEXT, Point, Stamp

    content = document.content(row)
    vectors = unit(rng.standard_normal((2, target.encoder.dimension), np.float32))
    stamp = Stamp(
        product_id=content.product_id,
        revision=1,
        fingerprint=target.encoder.fingerprint,
        exact=content.exact,
    )
    return Point(
        id=document.point_id(content.product_id),
        stamp=stamp,
        payload=dict(content.payload),
        vectors={TEXT: vectors[0], IMAGE: vectors[1]},
        words=document.analyser.words_of(content.searched, content.codes),
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def queries() -> Iterator[str]:
    """Yield queries of two words that carry meaning, none twice. Each finds some 300 products of 20,000."""
    rng = np.random.default_rng(2)
    seen: set[str] = set()
    while True:
        words = (
            rng.choice(EMPTY),
            rng.choice(WORDS),
            rng.choice(EMPTY),
            rng.choice(WORDS),
            rng.choice(EMPTY),
        )
        text = " ".join(words)
        if text not in seen:
            seen.add(text)
            yield text


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
        if len(list(self.results(text)[:PAGE])) != PAGE:
            raise AssertionError("The page is not full: this would measure something else.")

    def encode(self, text: str) -> np.ndarray:
        """Embed what a search for this text asks the model."""
        return self.encoder.embed_texts([self.document.declaration.query_prompt.replace("{query}", text)])[0]

    def ask(self, vector: np.ndarray) -> None:
        """Ask the engine alone for a page: the nearest by text and by image, merged by the engine."""
        store: Any = self.live.store
        edge = store._edge
        nearest = [edge.Query.Nearest(vector.tolist(), using=using) for using in ("text", "image")]
        request = edge.QueryRequest(
            limit=PAGE,
            with_payload=edge.PayloadSelector.Exclude(["_terms"]),
            query=edge.Fusion.Rrf(k=2),
            prefetches=[edge.Prefetch(limit=DEPTH, query=one) for one in nearest],
        )
        with store.session(self.live.collection.name, stay_open=True) as shard:
            shard.query(request)

    def facets(self, text: str) -> None:
        self.results(text).facets("category", "in_stock", "price")

    def sort(self, text: str) -> None:
        list(self.results(text).order_by("price")[:PAGE])

    def suggest(self, text: str) -> None:
        type(self.document.declaration).suggest(text[:-2])

    def nothing(self, text: str) -> None:
        """Search for what no product has, and show the closest products."""
        results = self.results(f"{text} asdfgh qwertz")
        if list(results[:PAGE]) or not list(results.closest):
            raise AssertionError("Something is found: this would measure something else.")

    def results(self, text: str) -> Any:
        return type(self.document.declaration).search(text)

    def round(self) -> dict[str, float]:
        """Return the seconds that each takes, one after the other."""
        text, other = next(self.texts), next(self.texts)
        vector = self.encode(text)
        found = {
            "encode": seconds(lambda: self.encode(other)),
            "engine": seconds(lambda: self.ask(vector)),
            "warm": seconds(lambda: self.search(text)),
        }
        found["engine again"] = seconds(lambda: self.ask(vector))
        return found | {
            name: seconds(lambda task=task: task(text))
            for name, task in {
                "cached": self.search,
                "facets": self.facets,
                "sort": self.sort,
                "suggest": self.suggest,
                "nothing": self.nothing,
            }.items()
        }

    def requests(self, task: Callable[[str], None]) -> int:
        """Return how many requests the engine gets."""
        store, asked = self.live.store, []
        names = ("rank", "get", "query", "count", "facet", "values")
        with ExitStack() as stack:
            for name in names:
                method = getattr(store, name)

                def request(*args: Any, _method: Any = method, **options: Any) -> Any:
                    asked.append(_method)
                    return _method(*args, **options)

                stack.enter_context(patch.object(store, name, request))
            task(next(self.texts))
        return len(asked)

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
    with bench.live.store.session(bench.live.collection.name):
        in_session = [bench.round() for _ in range(rounds + WARMING_UP)][WARMING_UP:]
    alone = [bench.round() for _ in range(rounds // 4 + WARMING_UP)][WARMING_UP:]
    with neighbour(bench):
        shared = [bench.round() for _ in range(rounds // 4 + WARMING_UP)][WARMING_UP:]
    return [
        row("text query, warm", in_session, "warm", ("encode", "engine"), 1.35),
        row("text query, cached", in_session, "cached", ("engine again",), 2),
        row("three facets, cached", in_session, "facets", ("engine again",)),
        row("sorted by price, cached", in_session, "sort", ("engine again",)),
        row("nothing found, closest, warm", in_session, "nothing", ("encode", "engine")),
        row("suggestions", in_session, "suggest", ("engine again",)),
        row("text query, warm, no session", alone, "warm", ("encode", "engine")),
        row("text query, cached, no session", alone, "cached", ("engine again",)),
        row("text query, warm, shared by two", shared, "warm", ("encode", "engine")),
        row("text query, cached, shared by two", shared, "cached", ("engine again",)),
        {"figure": "statements of the database a page", "value": bench.statements(), "at_most": 2},
        {"figure": "requests to the engine a page", "value": bench.requests(bench.search)},
        {"figure": "requests to the engine for suggestions", "value": bench.requests(bench.suggest)},
        *splitting(bench.document),
        *sizes(bench),
    ]


def splitting(document: Any) -> Iterator[dict[str, Any]]:
    """Measure how long it takes to split texts into words, each text for the first time."""
    rng = np.random.default_rng(3)
    for length in TEXT_LENGTHS:
        texts = [" ".join(rng.choice(WORDS, length)) for _ in range(200)]
        taken = seconds(lambda texts=texts: [document.analyser.words_of([(text, 1.0)]) for text in texts])
        yield {"figure": f"splitting a text of {length} words, ms", "value": 1000 * taken / len(texts)}


def sizes(bench: Bench) -> Iterator[dict[str, Any]]:
    """Measure how many bytes a product takes on the disk, with and without its words."""
    from clip_search.indexing.collections import schema
    from clip_search.indexing.targets import get_target
    from clip_search.types import Words

    target, rng = get_target(bench.document), np.random.default_rng(4)
    rows = bench.document.queryset()[:MEASURED_FOR_SIZE]
    points = [point_of(bench.document, target, row, rng) for row in rows]
    for name, kept in (("with", points), ("without", [replace(point, words=Words()) for point in points])):
        collection = f"size-{name}"
        target.store.create(collection, schema(bench.document, target.encoder.dimension))
        empty = folder_size(target.store._folder(collection))
        target.store.put(collection, kept)
        full = folder_size(target.store._folder(collection))
        yield {"figure": f"bytes a product {name} words", "value": (full - empty) / len(kept)}
        target.store.destroy(collection)


def folder_size(folder: Path) -> int:
    """Return the bytes that the files of a folder take on the disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*"))


@contextmanager
def neighbour(bench: Bench) -> Iterator[None]:
    """Have another process use the store all the time, with a fifth of a second between."""
    collection, store = bench.live.collection.name, bench.live.store
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
        bench.live.store.close()  # or it is still open when its folder goes
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{options.products} products, {options.rounds} rounds; baseline: encode and engine, or engine\n")
    show(found)


if __name__ == "__main__":
    main()
