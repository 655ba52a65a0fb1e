"""The base class of the commands, which chooses the documents and shows progress."""

from __future__ import annotations

import gc
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from tqdm import tqdm

from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.exceptions import ClipSearchError, in_one_line
from clip_search.models import IndexEntry
from clip_search.models.tables import naming_missing_tables
from clip_search.stores import get_store
from clip_search.types import Report

SECONDS_A_LINE = 10.0
"""How often a line of progress is written if the output is not a terminal."""
ERRORS_SHOWN = 10
IMAGES = "read every image file again, also if its name and time say that it is the same"
OBJECTS_A_COLLECTION = 50_000
"""How many new objects start Python's garbage collector (by default 700): see `fewer_collections()`."""


class DocumentCommand(BaseCommand):
    """Base class of commands that handle the documents named as arguments, or all documents."""

    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "documents", nargs="*", metavar="document", help="a document's name, or app.Model; all by default"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with naming_missing_tables(), fewer_collections(), get_store().keep_open():
                failures = [self.handle_document(d, options) for d in self.chosen(options["documents"])]
        except ClipSearchError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(in_one_line(error)) from error
        if any(failures):
            raise CommandError("; ".join(filter(None, failures)))

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        """Run the command for one document. Return a sentence that says what failed, or ""."""
        raise NotImplementedError

    def chosen(self, labels: Iterable[str]) -> list[BoundDocument]:
        """Return the documents with these names or models. Raises CommandError if a label fits none."""
        found = []
        for label in labels:
            named = [d for d in registry if label.lower() in (d.name.lower(), d.model._meta.label_lower)]
            if not named:
                known = ", ".join(f"{d.name} ({d.model._meta.label})" for d in registry) or "none"
                raise CommandError(f"No document {label!r}. There are: {known}.")
            found += named
        if not labels and not len(registry):
            raise CommandError("No document is registered. Declare one in an app's clip_documents.py.")
        return list(dict.fromkeys(found)) or list(registry)

    @contextmanager
    def progress(self, total: int, doing: str) -> Iterator[Progress]:
        """Show progress during the block: a bar in a terminal, otherwise a line every few seconds."""
        shown = Progress(self, total, doing)
        try:
            yield shown
        finally:
            shown.close()

    def show_failures(self, document: BoundDocument) -> str:
        """Write the errors of products that failed. Return a sentence with their number, or ""."""
        failed = IndexEntry.objects.of(document).filter(state=IndexEntry.State.FAILED)
        count = failed.count()
        for entry in failed.order_by("product_id")[:ERRORS_SHOWN]:
            self.stderr.write(f"{document.name} {entry.product_id}: {entry.error}")
        if count > ERRORS_SHOWN:
            self.stderr.write(f"… and {count - ERRORS_SHOWN} more: see the index entries in the admin.")
        return f"{count} of {document.name} failed" if count else ""


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Run Python's garbage collector less often during the block.

    With many rows in memory, it would take a third of the time.
    """
    usual = gc.get_threshold()
    gc.set_threshold(OBJECTS_A_COLLECTION, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class Progress:
    """Shows how many products are done: a progress bar in a terminal, otherwise lines of text."""

    def __init__(self, command: BaseCommand, total: int, doing: str) -> None:
        self._command, self._total, self._doing, self._done = command, total, doing, 0
        self._started = self._said = time.monotonic()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, desc=doing, unit=" products", disable=not terminal, leave=False)
        self._plain = not terminal

    def add(self, products: int) -> None:
        """Count these products as done, and show the progress."""
        self._done += products
        if self._done > self._total:
            self._total = self._bar.total = self._done
        self._bar.update(products)
        if self._plain and time.monotonic() - self._said > SECONDS_A_LINE:
            self._said = time.monotonic()
            self._command.stdout.write(self._line())

    def _line(self) -> str:
        far = f"{self._doing}: {self._done} of {self._total}"
        if not self._done:
            return far
        rate = self._done / (self._said - self._started)
        return f"{far}, {rate:.0f} a second, {(self._total - self._done) / rate:.0f} s left"

    def close(self) -> None:
        self._bar.close()


def summary(report: Report, seconds: float) -> str:
    """Return "240 products: 12 embedded, 3 payload only, … in 4.1 s", without counts that are 0."""
    counts = {
        "embedded": report.embedded,
        "payload only": report.payload_only,
        "unchanged": report.unchanged,
        "without image": report.without_image,
        "removed": report.removed,
        "failed": report.failed,
        "postponed": report.postponed,
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{report.products} products: {said or 'nothing to do'} in {seconds:.1f} s"
