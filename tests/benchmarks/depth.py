"""Measure how deep each ranking must look: `python -m tests.benchmarks.depth [--products N] [--json]`.

The first page of the merged ranking is compared with that of a far greater depth. Each product has the
vectors of one of the products of `tests.benchmarks.relevance`, moved a little at random, as its variants and
competitors would have. The queries are those of that benchmark.
"""

from __future__ import annotations

import argparse
import json
import uuid
from typing import Any

import numpy as np

from .relevance import Bench, set_up

PAGE = 24
DEEP = 1000
DEPTHS = (50, 100, 200, 500)
QUERIES = 200
NOISE = 0.35
"""The length of the random vector that is added to a vector of length 1."""


def enlarged(bench: Bench, products: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of so many products, by text and by image."""
    chosen = rng.integers(len(bench.products), size=products)
    return moved(bench.texts[chosen], rng), moved(bench.images[chosen], rng)


def moved(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(vectors.shape, np.float32)
    found = vectors + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def first_page(texts: np.ndarray, images: np.ndarray, vector: np.ndarray, depth: int) -> list[int]:
    """Return the first page of the merged ranking at a depth."""
    from clip_search.searching.fusing import Ranking, fuse
    from clip_search.stores.base import Rank

    rankings = []
    for vectors in (texts, images):
        scores = vectors @ vector
        best = np.argpartition(-scores, depth)[:depth]
        best = best[np.argsort(-scores[best], kind="stable")]
        ranks = [Rank(uuid.UUID(int=int(number)), float(scores[number])) for number in best]
        rankings.append(Ranking(weight=1, ranks=ranks, others=ranks[-1].score))
    return [key.int for key in list(fuse(rankings))[:PAGE]]


def rows(products: int) -> list[dict[str, Any]]:
    rng, bench = np.random.default_rng(1), set_up(1)
    from clip_search import Document

    texts, images = enlarged(bench, products, rng)
    queries = bench.queries["English"][:QUERIES]
    vectors = bench.embed([Document.query_prompt.replace("{query}", query.text) for query in queries])
    deep = [set(first_page(texts, images, vector, DEEP)) for vector in vectors]
    found = []
    for depth in DEPTHS:
        shared = [
            len(page & set(first_page(texts, images, vector, depth))) / PAGE
            for page, vector in zip(deep, vectors, strict=True)
        ]
        found.append({"depth": depth, "shared": float(np.mean(shared)), "worst": min(shared)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--products", type=int, default=20_000)
    options = parser.parse_args()
    found = rows(options.products)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{options.products} products; the first {PAGE} at a depth, against depth {DEEP}\n")
    print(f"{'depth':>6} {'shared':>7} {'worst':>6}")
    for row in found:
        print(f"{row['depth']:6} {row['shared']:7.3f} {row['worst']:6.2f}")


if __name__ == "__main__":
    main()
