"""Measure how well search ranks: `python -m tests.benchmarks.relevance [--json] [--seed S]`.

The products are drawn by the tests' second renderer, which the demo model was not trained on, and speak as
the demo catalogue does, in English; the queries are sentences held out of training, in English and French. A
product is right if it is of the kind and the colour that was asked for. Shops' texts often leave to the
picture what it shows, so all is measured a second time with the colour struck out of every second text.
Everything runs through the package's encoder and its embedded store; what the package does not do (BM25) is
computed here, to be compared with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST = 10
QUERIES = 432
"""A sample of the sentences in each language; all of them take four times as long and say the same."""
PATTERNS = ("plain", "striped")
WITHOUT_IMAGE = 0.3
COMPLETE, TERSE = "complete texts", "terse texts"
PROMPTS = ("{query}", "photo: {query}", "a product: {query}", "a photo of a {query}")
"""What the default, a document's own, is compared with."""
CONSTANTS = (1, 2, 5, 10, 60)
"""Of reciprocal rank fusion. Cormack, Clarke and Büttcher (2009) use 60."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A product of the benchmark."""

    kind: str
    colour: str
    text: str


@dataclass(slots=True)
class Bench:
    """The products, their vectors, and the queries of each language."""

    products: list[Shown]
    texts: np.ndarray
    images: np.ndarray
    queries: Mapping[str, Sequence]
    embed: Callable[[Sequence[str]], np.ndarray]
    store: object
    point_ids: list = field(default_factory=list)

    def right(self, query) -> set[int]:
        return {i for i, p in enumerate(self.products) if (p.kind, p.colour) == (query.kind, query.colour)}


def set_up(seed: int, folder: str, precision: str = "float32") -> Bench:
    """Draw, embed and return the products."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    sys.path[:0] = [str(ROOT), str(ROOT / "example_project")]
    import django
    from django.conf import settings

    settings.CLIP_SEARCH = {
        "QDRANT": {"path": folder},
        "MODEL": str(ROOT / "example_project" / "demo_model"),
        "PRECISION": precision,
    }
    django.setup()
    from clip_search.encoders import get_encoder
    from clip_search.stores import get_store
    from demo_model_training.product_texts import product_texts
    from tests.samples import heldout_captions, heldout_drawings

    rng, encoder = random.Random(seed), get_encoder()
    products, pictures = [], []
    for kind in heldout_drawings.ICONS:
        for colour in heldout_drawings.PALETTE:
            for pattern in PATTERNS:
                text = ". ".join(product_texts(kind, colour, pattern, rng))
                products.append(Shown(kind=kind, colour=colour, text=text))
                picture = heldout_drawings.render(kind, colour, pattern, seed=rng.randrange(10**6))
                pictures.append(np.asarray(picture.resize((encoder.image_size,) * 2).convert("RGB")))
    return Bench(
        products=products,
        texts=encoder.embed_texts([product.text for product in products]),
        images=encoder.embed_images(pictures),
        queries={
            "English": rng.sample(heldout_captions.english(), QUERIES),
            "French": rng.sample(heldout_captions.french(), QUERIES),
        },
        embed=encoder.embed_texts,
        store=get_store(),
    )


def tersely(bench: Bench) -> Bench:
    """Return the same products, the colour struck out of every second one's text."""
    products = [
        replace(product, text=without_colour(product)) if number % 2 else product
        for number, product in enumerate(bench.products)
    ]
    return replace(bench, products=products, texts=bench.embed([product.text for product in products]))


def without_colour(product: Shown) -> str:
    return " ".join(word for word in product.text.split() if product.colour not in word.lower())


def collection(bench: Bench, name: str, without_image: set[int] = frozenset()) -> dict:
    """Put the products into a collection; returns which product each point is."""
    from clip_search.stores.base import Schema
    from clip_search.types import IMAGE, TEXT, Point, Stamp, point_id

    bench.store.create(name, Schema(dimension=bench.texts.shape[1]))
    points = []
    for index in range(len(bench.products)):
        vectors = {TEXT: bench.texts[index]}
        if index not in without_image:
            vectors[IMAGE] = bench.images[index]
        stamp = Stamp(product_id=str(index), revision=1)
        points.append(Point(id=point_id(name, str(index)), stamp=stamp, vectors=vectors))
    bench.store.put(name, points)
    return {point.id: index for index, point in enumerate(points)}


def engine(
    bench: Bench, name: str, places: dict, weights: Mapping[str, float], k: int | None = None
) -> Callable:
    """Return the ranking that the package gives with these weights, and another RRF constant if asked."""
    from unittest.mock import patch

    from clip_search.searching.queries import scale_weights
    from clip_search.stores.base import Query, Retriever
    from clip_search.stores.embedded import store

    shares = {using: share for using, share in scale_weights(weights).items() if share}

    def rank(vector: np.ndarray, text: str) -> list[int]:
        retrievers = [Retriever(using=using, vector=vector, weight=share) for using, share in shares.items()]
        with patch.object(store, "RRF_K", k or store.RRF_K):
            found = bench.store.query(name, Query(retrievers=retrievers, limit=FIRST))
        return [places[one.id] for one in found]

    return rank


def with_bm25(bench: Bench, k: int, rankings: Sequence[Callable]) -> Callable:
    """Return rankings fused here by RRF: the package has no BM25."""

    def rank(vector: np.ndarray, text: str) -> list[int]:
        scores: Counter[int] = Counter()
        for ranking in rankings:
            for place, index in enumerate(ranking(vector, text)):
                scores[index] += 1 / (k + place)
        return [index for index, _ in scores.most_common(FIRST)]

    return rank


def near(vectors: np.ndarray) -> Callable:
    return lambda vector, text: np.argsort(-(vectors @ vector), kind="stable")


def bm25(bench: Bench, k1: float = 1.2, b: float = 0.75) -> Callable:
    """Return a ranking by BM25 (Robertson and Zaragoza, 2009), words folded in case and accents."""
    from clip_search.documents.text import normalise

    documents = [Counter(map(normalise, re.findall(r"\w+", product.text))) for product in bench.products]
    lengths = np.array([sum(words.values()) for words in documents])
    frequency = Counter(word for words in documents for word in words)

    def rank(vector: np.ndarray, text: str) -> list[int]:
        scores = np.zeros(len(documents))
        for word in map(normalise, re.findall(r"\w+", text)):
            idf = math.log(1 + (len(documents) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            counts = np.array([words[word] for words in documents])
            scores += idf * counts * (k1 + 1) / (counts + k1 * (1 - b + b * lengths / lengths.mean()))
        order = np.argsort(-scores, kind="stable")
        return [index for index in order if scores[index] > 0]

    return rank


def measure(
    bench: Bench, rank: Callable, language: str, prompt: str = "", only: set[int] | None = None
) -> tuple[float, float]:
    """Return recall@10 and nDCG@10, means over the queries; `only` counts just these products as right."""
    from clip_search import Document

    prompt = prompt or Document.query_prompt
    recalls, gains = [], []
    queries = bench.queries[language]
    vectors = bench.embed([prompt.replace("{query}", query.text) for query in queries])
    for query, vector in zip(queries, vectors, strict=True):
        right = bench.right(query) if only is None else bench.right(query) & only
        if not right:
            continue
        places = [place for place, index in enumerate(rank(vector, query.text)[:FIRST]) if index in right]
        best = sum(1 / math.log2(place + 2) for place in range(min(len(right), FIRST)))
        recalls.append(len(places) / min(len(right), FIRST))
        gains.append(sum(1 / math.log2(place + 2) for place in places) / best)
    return float(np.mean(recalls)), float(np.mean(gains))


def rows(bench: Bench, seed: int) -> list[dict]:
    """Measure every variant."""
    places, terse = collection(bench, "all"), tersely(bench)
    terse_places = collection(terse, "terse")
    with bench.store.session("all"):
        found = measured(bench, "all", places)
    with bench.store.session("terse"):
        found += [row | {"texts": TERSE} for row in measured(terse, "terse", terse_places)]
    with bench.store.session("all"):
        return found + without_images(bench, places, seed)


def measured(bench: Bench, collected: str, places: dict) -> list[dict]:
    """Measure every way of ranking."""
    from clip_search.stores.base import RRF_K

    def by(weights: Mapping[str, float], k: int | None = None) -> Callable:
        return engine(bench, collected, places, weights, k)

    equal = {"text": 1.0, "image": 1.0}
    retrievers = [near(bench.texts), near(bench.images)]
    variants: dict[str, tuple[Callable, str]] = {
        "text only": (by({"text": 1}), ""),
        "image only": (by({"image": 1}), ""),
        **{f"fused, k = {k}": (by(equal, k), "") for k in CONSTANTS},
        "default, text 2 : image 1": (by({"text": 2, "image": 1}), ""),
        "default, text 1 : image 2": (by({"text": 1, "image": 2}), ""),
        **{f'default, "{prompt}"': (by(equal), prompt) for prompt in PROMPTS},
        "BM25 only": (bm25(bench), ""),
        "default with BM25": (with_bm25(bench, RRF_K, [*retrievers, bm25(bench)]), ""),
    }
    found = []
    for name, (rank, prompt) in variants.items():
        for language in bench.queries:
            recall, gain = measure(bench, rank, language, prompt)
            found.append({"variant": name, "language": language, "recall@10": recall, "nDCG@10": gain})
    return found


def without_images(bench: Bench, places: dict, seed: int) -> list[dict]:
    """Take the images of three products in ten away; measure how well those are found before and after."""
    everyone = range(len(bench.products))
    chosen = set(random.Random(seed).sample(everyone, int(WITHOUT_IMAGE * len(everyone))))
    poorer = collection(bench, "without", chosen)
    found = []
    with bench.store.session("without"):
        for k in CONSTANTS:
            for name, collected, where in (("before", "all", places), ("after", "without", poorer)):
                rank = engine(bench, collected, where, {"text": 1.0, "image": 1.0}, k)
                for language in bench.queries:
                    recall, gain = measure(bench, rank, language, only=chosen)
                    variant = f"losing their image, k = {k}, {name}"
                    found.append(
                        {"variant": variant, "language": language, "recall@10": recall, "nDCG@10": gain}
                    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = set_up(options.seed, folder)
        found = rows(bench, options.seed)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    asked = ", ".join(f"{len(queries)} {language}" for language, queries in bench.queries.items())
    print(f"{len(bench.products)} products, {asked} queries, seed {options.seed}\n")
    show(found)


def show(found: Sequence[Mapping]) -> None:
    """Print a line per variant and language: both catalogues side by side."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in found:
        figures = f"{row['recall@10']:9.3f} {row['nDCG@10']:7.3f}"
        lines.setdefault((row["variant"], row["language"]), {})[row.get("texts", COMPLETE)] = figures
    print(f"{'':42} {COMPLETE:>17}   {TERSE:>17}")
    print(f"{'variant':33} {'language':8}" + 2 * f" {'recall@10':>9} {'nDCG@10':>7}  ")
    for (variant, language), figures in lines.items():
        print(f"{variant:33} {language:8} {figures[COMPLETE]}   {figures.get(TERSE, '')}".rstrip())


if __name__ == "__main__":
    main()
