"""Command that searches as a shopper does, and shows why each product is found."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from clip_search import searching
from clip_search.documents.binding import BoundDocument
from clip_search.management.base import products
from clip_search.management.one_document import OneDocumentCommand, in_words, table, weights
from clip_search.searching.explaining import explain
from clip_search.searching.explanations import Explanation, ProductExplanation, QueryReading, Standing
from clip_search.types import IMAGE, TEXT, WORDS

NAME_WIDTH: Final = 38
WIDTH: Final = 100
COMPARED: Final = 100
"""How many ranks are read under other weights. A product that comes later has the rank ">100"."""
LEGS: Final = (WORDS, TEXT, IMAGE)


class Command(OneDocumentCommand):
    help = "Search for words as a shopper does, and show why each product is found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query", help="what a shopper types, in quotes")
        super().add_arguments(parser)
        parser.add_argument("--limit", type=limit, default=10, help="how many products to show (%(default)d)")
        parser.add_argument(
            "--filter",
            action="append",
            default=[],
            type=filter_of,
            metavar="NAME=VALUE",
            help="only products that meet this filter, such as price__lte=20; may be repeated",
        )
        parser.add_argument(
            "--product", metavar="ID", help="also show where this product stands, and why it is not found"
        )
        parser.add_argument(
            "--compare",
            action="append",
            default=[],
            type=weights,
            metavar="WEIGHTS",
            help="also show the ranks under other weights, such as words=2,image=0.5; may be repeated",
        )

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        filters, everything = dict(options["filter"]), options["everything"]
        explanation = explain(
            document,
            options["query"],
            limit=options["limit"],
            product_id=options["product"],
            filters=filters,
            everything=everything,
        )
        compared = {}
        for other in options["compare"]:
            hits = searching.search(
                document, options["query"], filters=filters, weights=other, everything=everything
            ).hits()
            shown = hits.closest if explanation.are_closest else hits
            compared[in_words(other)] = [hit.product_id for hit in shown[:COMPARED]]
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(explanation), "compared": compared}, indent=2))
            return ""
        self.show(explanation)
        if compared:
            self.show_comparison(document, explanation, compared)
        return ""

    def show(self, explanation: Explanation) -> None:
        found = f"{products(explanation.count)} of {explanation.document}"
        if explanation.is_whole_shop:
            found = f"the whole shop, ranked: {found}"
        if explanation.are_closest:
            found = f"nothing of {explanation.document} is found"
        self.stdout.write(f"“{explanation.query}”: {found}")
        for line in read_as(explanation.reading):
            self.stdout.write(f"  {line}")
        if explanation.are_closest and explanation.products:
            self.stdout.write("Closest in meaning:")
        if explanation.products:
            rows = [row_of(product, place) for place, product in enumerate(explanation.products, 1)]
            lines = table(["", "product", "basis", "relevance", *LEGS], rows, left=3)
            self.stdout.write(lines[0])
            for line, product in zip(lines[1:], explanation.products, strict=True):
                self.stdout.write(line)
                if evidence := evidence_of(product):
                    self.stdout.write(f"    {evidence}"[:WIDTH])
        if explanation.product:
            self.show_product(explanation.product)

    def show_product(self, product: ProductExplanation) -> None:
        name = f"{product.product_id} {product.name}".strip()
        place = f"rank {product.rank}" if product.rank else "found, after all that are ranked"
        self.stdout.write(f"Product {name}: {place if product.is_found else 'not found'}")
        for line in filter(None, [evidence_of(product), *product.notes]):
            self.stdout.write(f"  {line}")
        for name, standing in product.rankings.items():
            self.stdout.write(f"  {name}: {stands(standing)}")

    def show_comparison(
        self, document: BoundDocument, explanation: Explanation, compared: Mapping[str, list[str]]
    ) -> None:
        """Print the ranks of the products under each of the weights, and how many ranks they move."""
        self.stdout.write(f"Ranks under other weights than {in_words(dict(explanation.weights))}:")
        now = [product.product_id for product in explanation.products]
        names = {product.product_id: product.name for product in explanation.products}
        others = [i for ids in compared.values() for i in ids[: len(now)] if i not in names]
        names |= {key: str(row) for key, row in document.find(document.queryset(), others).items()}
        rows = []
        for product_id in dict.fromkeys([*now, *others]):
            rank = now.index(product_id) + 1 if product_id in now else None
            moved = [moved_to(ids, product_id, rank) for ids in compared.values()]
            rows.append(
                [cut(f"{product_id} {names.get(product_id, '')}"), str(rank or f">{len(now)}"), *moved]
            )
        for line in table(["product", "now", *compared], rows):
            self.stdout.write(line)


def limit(text: str) -> int:
    """Return the number of products to show. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= COMPARED:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to {COMPARED}")
    return int(text)


def filter_of(text: str) -> tuple[str, Any]:
    """Return a filter such as "price__lte=20" as a pair. Raises ArgumentTypeError.

    Several values of the lookup `in` are separated by commas.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"{text!r} has no '='. Write it as in price__lte=20")
    return name, value.split(",") if name.endswith("__in") else value


def read_as(reading: QueryReading) -> list[str]:
    """Return lines that say how a query was read. What says nothing is left out."""
    words = []
    by_spelling = Counter(spelling for word in reading.words for spelling in word.spellings)
    for word in reading.words:
        # what stands for two words is only both of them joined
        own = [each for each in word.spellings[1:] if each in word.synonyms or by_spelling[each] == 1]
        others = [f"synonym {each}" if each in word.synonyms else each for each in own]
        text = f'"{word.text}"' if word.is_phrase else word.text
        words.append(f"{text} (or {', '.join(others)})" if others else text)
    parts = {
        "corrected": reading.corrected,
        "wanted": ", ".join(words),
        "excluded": ", ".join(reading.excluded),
        "ignored": ", ".join(reading.ignored),
        "left out, no product has it": ", ".join(reading.dropped),
    }
    return [f"{name}: {value}" for name, value in parts.items() if value]


def row_of(product: ProductExplanation, place: int) -> list[str]:
    """Return a product as a row of the table."""
    legs = [product.rankings.get(leg) for leg in LEGS]
    return [
        str(place),
        cut(f"{product.product_id} {product.name}"),
        product.basis or "",
        f"{product.relevance:.3f}",
        *(f"{leg.score:.3f}{f' #{leg.rank}' if leg.rank else ''}" if leg else "–" for leg in legs),
    ]


def evidence_of(product: ProductExplanation) -> str:
    """Return the exact values and the words that a product has, and the words that it lacks."""
    has = [
        word.text
        + (f" {word.weight:.2f}" if word.weight else "")
        + ("" if word.text.startswith(word.spellings[0]) else f" (as {word.spellings[0]})")
        for word in product.words
        if word.spellings
    ]
    parts = {
        "equals": product.exact,
        "has": has,
        "lacks": [word.text for word in product.words if not word.spellings],
    }
    return "; ".join(f"{name} {', '.join(values)}" for name, values in parts.items() if values)


def stands(standing: Standing) -> str:
    """Return "0.812, rank 3", and the score that is needed, if it decides."""
    rank = f", rank {standing.rank}" if standing.rank else ""
    needed = "" if standing.needed is None else f" (without all words, {standing.needed:.3f} is needed)"
    return f"{standing.score:.3f}{rank}{needed}"


def moved_to(ids: list[str], product_id: str, before: int | None) -> str:
    """Return the rank of a product in a list of ids, and how it moved: "2 +3" is three places up."""
    if product_id not in ids:
        return f">{len(ids)}"
    rank = ids.index(product_id) + 1
    return f"{rank} {before - rank:+d}" if before and before != rank else str(rank)


def cut(name: str) -> str:
    """Return a name that fits into the table."""
    name = " ".join(name.split())
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
