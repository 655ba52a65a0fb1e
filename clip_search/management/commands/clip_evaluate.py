"""Command that measures the search by a shop's own judgments, under several weights."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.utils.translation import ngettext

from clip_search.documents.binding import BoundDocument
from clip_search.evaluation.evaluating import Evaluation, evaluate, unknown_products
from clip_search.evaluation.judgments import read_judgments
from clip_search.management.base import products
from clip_search.management.one_document import OneDocumentCommand, in_words, table, weights

DEFAULT: Final = "default"
NAMED: Final = 10
"""How many unknown products are named."""


class Command(OneDocumentCommand):
    help = "Measure the search by judged queries: nDCG@10, recall@10, MRR and the share of empty answers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "judgments", type=Path, help="a CSV file with the columns query, product (its id) and grade"
        )
        super().add_arguments(parser)
        parser.add_argument(
            "--weights",
            action="append",
            default=[],
            type=weights,
            metavar="WEIGHTS",
            help="also measure these weights, such as text=1,image=0.5,words=2; may be repeated",
        )
        parser.add_argument(
            "--worst", type=int, default=0, metavar="N", help="also name the N queries with the worst answers"
        )

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        judgments = read_judgments(options["judgments"])
        unknown = unknown_products(document, judgments)
        settings = {DEFAULT: {}, **{in_words(each): each for each in options["weights"]}}
        evaluations = {}
        with self.progress(len(judgments) * len(settings), "Asking queries") as progress:
            for name, setting in settings.items():
                evaluations[name] = evaluate(
                    document,
                    judgments,
                    setting,
                    everything=options["everything"],
                    unknown=unknown,
                    asked=lambda: progress.add(1),
                )
        if options["json"]:
            self.stdout.write(json.dumps(as_json(document, unknown, evaluations, options["worst"]), indent=2))
        else:
            self.show(document, unknown, evaluations, options["worst"])
        return ""

    def show(
        self, document: BoundDocument, unknown: Sequence[str], evaluations: dict[str, Evaluation], worst: int
    ) -> None:
        default = evaluations[DEFAULT]
        count, judged = len(default.answers), len(default.judged)
        queries = ngettext("%d query", "%d queries", count) % count
        self.stdout.write(
            f"{document.name}: {queries}. Judged: the first 10 results or, if nothing is found, the closest."
        )
        if unknown:
            named = ", ".join(unknown[:NAMED]) + ", …" * (len(unknown) > NAMED)
            self.stdout.write(f"Not in the index, and so not counted: {products(len(unknown))} ({named})")
        if judged < count:
            self.stdout.write(f"No product is right for {count - judged} of them; an empty answer is best.")
        header = ["weights", "nDCG@10", "recall@10", "MRR@10", "empty"]
        rows = [[name, *figures_of(evaluation)] for name, evaluation in evaluations.items()]
        if default.rightly_empty is not None:
            header.append("rightly empty")
            for row, evaluation in zip(rows, evaluations.values(), strict=True):
                row.append(f"{evaluation.rightly_empty:.3f}")
        for line in table(header, rows):
            self.stdout.write(line)
        if worst > 0 and default.judged:
            self.stdout.write("The worst answers, under the default weights:")
            answers = [
                [f"{a.ndcg:.3f}", f"{a.recall:.3f}", a.query[:70] + " (closest)" * a.is_empty]
                for a in default.worst(worst)
            ]
            for line in table(["nDCG@10", "recall@10", "query"], answers, left=3):
                self.stdout.write(line)


def figures_of(evaluation: Evaluation) -> list[str]:
    """Return the figures of a row: nDCG@10, recall@10, MRR@10, share of empty answers."""
    figures = evaluation.ndcg, evaluation.recall, evaluation.reciprocal_rank, evaluation.empty
    return [f"{figure:.3f}" for figure in figures] if evaluation.judged else ["–"] * len(figures)


def as_json(
    document: BoundDocument, unknown: Sequence[str], evaluations: dict[str, Evaluation], worst: int
) -> dict[str, Any]:
    """Return the figures as plain values. They are null if no judged query has a right product."""
    settings = []
    for name, each in evaluations.items():
        known = bool(each.judged)
        settings.append(
            {
                "weights": name,
                "ndcg@10": each.ndcg if known else None,
                "recall@10": each.recall if known else None,
                "mrr@10": each.reciprocal_rank if known else None,
                "empty": each.empty if known else None,
                "rightly_empty": each.rightly_empty,
                "worst": [asdict(answer) for answer in each.worst(worst)],
            }
        )
    default = evaluations[DEFAULT]
    return {
        "document": document.name,
        "queries": len(default.answers),
        "queries_with_right_products": len(default.judged),
        "unknown_products": list(unknown),
        "settings": settings,
    }
