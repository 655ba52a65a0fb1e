"""Measure how well search ranks: `python -m tests.benchmarks.relevance [--json] [--seed S]`.

The products are drawn by the tests' second renderer, which the demo model was not trained on, and speak as
the demo catalogue does, in English; the queries are sentences held out of training, in English and French. A
product is right if it is of the kind and the colour that was asked for. Texts of other shops say less: every
second text without its colour, all texts without it, or only a SKU. Only rankings by meaning are measured
here; `tests.benchmarks.branded` measures what words add.

The rankings are merged by the package and, to be compared with, by reciprocal rank fusion.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clip_search.stores.base import Rank


ROOT = Path(__file__).resolve().parent.parent.parent
QUERIES = 432
"""A sample of the sentences in each language; all of them take four times as long and say the same."""
PATTERNS = ("plain", "striped")
WITHOUT_IMAGE = 0.3
DEPTH = 100
COMPLETE, TERSE, COLOURLESS, SKUS = "complete", "terse", "colourless", "only SKUs"
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

    def right(self, query) -> set[int]:
        return {i for i, p in enumerate(self.products) if (p.kind, p.colour) == (query.kind, query.colour)}


def set_up(seed: int, precision: str = "float32") -> Bench:
    """Draw, embed and return the products."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    sys.path[:0] = [str(ROOT), str(ROOT / "example_project")]
    import django
    from django.conf import settings

    settings.CLIP_SEARCH = {
        "QDRANT": {"backend": "clip_search.testing.MemoryStore"},
        "MODEL": str(ROOT / "example_project" / "demo_model"),
        "PRECISION": precision,
    }
    django.setup()
    from clip_search.encoders import get_encoder
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
    )


def catalogues(bench: Bench) -> dict[str, Bench]:
    """Return the same products in shops whose texts say less and less."""
    products = enumerate(bench.products)
    texts = {
        TERSE: [without_colour(p) if number % 2 else p.text for number, p in products],
        COLOURLESS: [without_colour(product) for product in bench.products],
        SKUS: [f"SKU-{410_000 + 7 * number}" for number in range(len(bench.products))],
    }
    return {COMPLETE: bench} | {name: replace(bench, texts=bench.embed(own)) for name, own in texts.items()}


def without_colour(product: Shown) -> str:
    return " ".join(word for word in product.text.split() if product.colour not in word.lower())


Rankings = list[list["Rank"]]
"""The products that a text's vector finds by text and by image, with their cosines."""


def rankings(bench: Bench, vector: np.ndarray, without_image: Set[int] = frozenset()) -> Rankings:
    by_image = bench.images @ vector
    by_image[list(without_image)] = -np.inf
    return [best(bench.texts @ vector), best(by_image)]


def best(scores: np.ndarray) -> list[Rank]:
    from clip_search.stores.base import Rank

    order = np.argsort(-scores, kind="stable")[:DEPTH]
    return [Rank(index, float(scores[index])) for index in order if np.isfinite(scores[index])]


def by_package(weights: Sequence[float] = (1, 1)) -> Callable:
    """Return the ranking that the package gives with these weights of text and image."""
    from clip_search.searching.fusing import Ranking, fuse
    from clip_search.stores.base import Rank

    def rank(found: Rankings, without_image: Set[int]) -> list[int]:
        text, image = ([Rank(uuid.UUID(int=int(one.id)), one.score) for one in part] for part in found)
        lacking = {uuid.UUID(int=index) for index in without_image}
        merged = fuse(
            [
                Ranking(weight=weights[0], ranks=text, others=text[-1].score),
                Ranking(weight=weights[1], ranks=image, others=image[-1].score, lacking=lacking),
            ]
        )
        return [key.int for key in merged]

    return rank


def by_ranks(k: int) -> Callable:
    """Return the ranking of reciprocal rank fusion with this constant."""

    def rank(found: Rankings, without_image: Set[int]) -> list[int]:
        scores: Counter[int] = Counter()
        for ranking in found:
            for place, one in enumerate(ranking):
                scores[one.id] += 1 / (k + place)
        return [index for index, _ in scores.most_common()]

    return rank


def alone(number: int) -> Callable:
    return lambda found, without_image: [one.id for one in found[number]]


def measure(
    bench: Bench,
    rank: Callable,
    language: str,
    prompt: str = "",
    without_image: Set[int] = frozenset(),
    only: Set[int] | None = None,
) -> tuple[float, float]:
    """Return recall@10 and nDCG@10, means over the queries; `only` counts just these products as right."""
    from clip_search import Document
    from clip_search.evaluation.metrics import ndcg, recall

    prompt = prompt or Document.query_prompt
    recalls, gains = [], []
    queries = bench.queries[language]
    vectors = bench.embed([prompt.replace("{query}", query.text) for query in queries])
    for query, vector in zip(queries, vectors, strict=True):
        right = bench.right(query) if only is None else bench.right(query) & only
        if not right:
            continue
        shown = rank(rankings(bench, vector, without_image), without_image)
        grades, best = [float(index in right) for index in shown], [1.0] * len(right)
        recalls.append(recall(grades, best))
        gains.append(ndcg(grades, best))
    return float(np.mean(recalls)), float(np.mean(gains))


def variants() -> dict[str, tuple[Callable, str]]:
    """Return the ways to rank, each with its prompt."""
    return {
        "text only": (alone(0), ""),
        "image only": (alone(1), ""),
        **{f"reciprocal ranks, k = {k}": (by_ranks(k), "") for k in CONSTANTS},
        "standard scores (the default)": (by_package(), ""),
        "text 2 : image 1": (by_package((2, 1)), ""),
        "text 1 : image 2": (by_package((1, 2)), ""),
        **{f'prompt "{prompt}"': (by_package(), prompt) for prompt in PROMPTS},
    }


def rows(bench: Bench, seed: int) -> list[dict]:
    """Measure every way to rank in every catalogue, and without three in ten of the images."""
    chosen = set(
        random.Random(seed).sample(range(len(bench.products)), int(WITHOUT_IMAGE * len(bench.products)))
    )
    shops = {name: (shop, {}) for name, shop in catalogues(bench).items()}
    shops["without images"] = (bench, {"without_image": chosen, "only": chosen})
    found = []
    for shop, (own, options) in shops.items():
        for name, (rank, prompt) in variants().items():
            for language in own.queries:
                recall, gain = measure(own, rank, language, prompt, **options)
                found.append(
                    {
                        "shop": shop,
                        "variant": name,
                        "language": language,
                        "recall@10": recall,
                        "nDCG@10": gain,
                    }
                )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    bench = set_up(options.seed)
    found = rows(bench, options.seed)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    asked = ", ".join(f"{len(queries)} {language}" for language, queries in bench.queries.items())
    print(f"{len(bench.products)} products, {asked} queries, seed {options.seed}\n")
    show(found)


def show(found: Sequence[Mapping]) -> None:
    """Print a line for each way to rank and each language: all shops side by side."""
    shops = list(dict.fromkeys(row["shop"] for row in found))
    lines: dict[tuple[str, str], list[str]] = {}
    for row in found:
        figures = f"{row['recall@10']:8.3f} {row['nDCG@10']:7.3f}"
        lines.setdefault((row["variant"], row["language"]), []).append(figures)
    print(f"{'':39}" + "".join(f" {shop:>16}" for shop in shops))
    print(f"{'variant':30} {'language':8}" + len(shops) * "   recall    nDCG")
    for (variant, language), figures in lines.items():
        print(f"{variant:30} {language:8} {' '.join(figures)}")


if __name__ == "__main__":
    main()
