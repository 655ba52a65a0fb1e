"""The base class of the commands that ask queries of one document."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError

from clip_search.documents.binding import BoundDocument
from clip_search.documents.declaration import WEIGHTS
from clip_search.management.base import DocumentCommand
from clip_search.searching.queries import checked_weights


class OneDocumentCommand(DocumentCommand):
    """Base class of commands for one document, which is named if there are several."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--document",
            dest="documents",
            nargs=1,
            default=[],
            metavar="NAME",
            help="the document's name, or app.Model; needed if there are several",
        )
        parser.add_argument(
            "--everything",
            action="store_true",
            default=None,
            help="rank the whole shop, rather than only what is found",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def chosen(self, labels: Iterable[str]) -> list[BoundDocument]:
        found = super().chosen(labels)
        if len(found) > 1:
            known = ", ".join(sorted(document.name for document in found))
            raise CommandError(f"There are several documents: {known}. Name one with --document.")
        return found


def weights(text: str) -> dict[str, float]:
    """Return weights such as "text=1,words=2" as a dict. Raises ArgumentTypeError."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ArgumentTypeError(f"{part!r} has no '='. Write it as in text=1,image=1,words=2")
        found[name] = value
    try:
        checked = checked_weights({**WEIGHTS, **found})
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    return {name: checked[name] for name in found}


def in_words(weights: dict[str, float]) -> str:
    """Return weights as they are typed: "text=1,words=2"."""
    return ",".join(f"{name}={weight:g}" for name, weight in weights.items())


def table(header: list[str], rows: list[list[str]], *, left: int = 1) -> list[str]:
    """Return the lines of a table. The first `left` columns are aligned to the left, others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
