"""The base class of the commands, which chooses the documents and shows progress."""

from __future__ import annotations

import gc
import io
import logging
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils.translation import ngettext
from tqdm import tqdm

from clip_search import child, indexing, parallel
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.exceptions import ClipSearchError, in_one_line
from clip_search.indexing import writing
from clip_search.indexing.collections import is_compatible
from clip_search.models import Collection, IndexEntry
from clip_search.models.tables import naming_missing_tables
from clip_search.status.documents import find_truncated
from clip_search.stores import get_store
from clip_search.types import Report

SECONDS_A_LINE = 10.0
"""How often a line of progress is written if the output is not a terminal."""
ERRORS_SHOWN = 10
INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended, as shells have it."""
IMAGES = "read every image file again, also if its name and time say that it is the same"
MOST_PROCESSES = 64
"""The most processes that a command accepts: each loads the CLIP model."""

# The commands show what failed themselves: without a handler, Python would print each warning too.
writing.logger.addHandler(logging.NullHandler())


class DocumentCommand(BaseCommand):
    """Base class of commands that handle the documents named as arguments, or all documents.

    With `--verbosity 0` only what is wrong is written.
    """

    requires_migrations_checks = True
    is_quiet = False
    was_interrupted = False
    last_progress: Progress | None = None

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command. If Ctrl-C ends it, print in one line how far it came; the exit status is 130."""
        try:
            with self.noticing_lost_interrupts():
                super().run_from_argv(argv)
        except (KeyboardInterrupt, indexing.Stopped):
            far = f" {self.last_progress.far}." if self.last_progress else ""
            self.stdout.flush()  # so that the next line is the last one, also in a log file of both
            self.stderr.write(f"Interrupted.{far} Run the command again to continue.")
            sys.exit(INTERRUPTED)

    @contextmanager
    def noticing_lost_interrupts(self) -> Iterator[None]:
        """Set `was_interrupted` if Ctrl-C comes during the block while Python runs a `__del__`.

        Python discards what is raised in a `__del__` or in the callback of a weak reference, and tells only
        `sys.unraisablehook`.
        """
        usual = sys.unraisablehook

        def notice(unraisable: sys.UnraisableHookArgs) -> None:
            if unraisable.exc_type is KeyboardInterrupt:
                self.was_interrupted = True
            else:
                usual(unraisable)

        sys.unraisablehook = notice
        try:
            yield
        finally:
            sys.unraisablehook = usual

    def must_stop(self) -> bool:
        """Return whether Ctrl-C was pressed, and Python discarded the KeyboardInterrupt."""
        return self.was_interrupted

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "documents", nargs="*", metavar="document", help="a document's name, or app.Model; all by default"
        )

    def add_processes(self, parser: ArgumentParser) -> None:
        """Add the argument `--processes` of commands that index many products."""
        parser.add_argument(
            "--processes",
            default="1",
            metavar="N",
            help="work in N processes; those that index load the CLIP model each. auto: one for every "
            f"{parallel.CORES_A_PROCESS} cores (%(default)s)",
        )

    def processes(self, options: dict[str, Any]) -> int:
        """Return the number of processes that `--processes` means. Raises CommandError."""
        given = str(options["processes"])
        if given == "auto":
            return parallel.best_count()
        if not given.isdecimal() or not 1 <= int(given) <= MOST_PROCESSES:
            raise CommandError(f'--processes: name a number from 1 to {MOST_PROCESSES}, or "auto".')
        return int(given)

    def execute(self, *args: Any, **options: Any) -> str | None:
        # a question, and JSON for a program, are shown nevertheless
        is_needed = options.get("json") or (options.get("interactive") and not options.get("dry_run"))
        self.is_quiet = options["verbosity"] == 0 and not is_needed
        if self.is_quiet:
            options["stdout"] = io.StringIO()
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        if "processes" in options:
            self.processes(options)
        try:
            with naming_missing_tables(), rarer_garbage_collection(), get_store().keep_open():
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
                known = ", ".join(sorted(f"{d.name} ({d.model._meta.label})" for d in registry)) or "none"
                raise CommandError(f"No document {label!r}. There are: {known}.")
            found += named
        if not labels and not len(registry):
            raise CommandError("No document is registered. Declare one in an app's clip_documents.py.")
        return list(dict.fromkeys(found)) or list(registry)

    @contextmanager
    def progress(self, total: int, doing: str) -> Iterator[Progress]:
        """Show progress during the block: a bar in a terminal, otherwise a line every few seconds."""
        self.last_progress = Progress(self, total, doing, is_quiet=self.is_quiet)
        try:
            yield self.last_progress
        finally:
            self.last_progress.close()

    def show_truncated(self, document: BoundDocument) -> None:
        """Print the number of products whose text is longer than the model reads, and name some."""
        for collection in Collection.objects.of(document).filter(state=Collection.State.LIVE):
            count, product_ids = find_truncated(collection)
            if count:
                self.stdout.write(truncated(document.name, count, product_ids))

    def show_failures(self, document: BoundDocument) -> str:
        """Write the errors of products that failed. Return a sentence with their number, or ""."""
        failed = IndexEntry.objects.of(document).filter(state=IndexEntry.State.FAILED)
        count = failed.count()
        for entry in failed.order_by("product_id")[:ERRORS_SHOWN]:
            self.stderr.write(f"{document.name} {entry.product_id}: {entry.error}")
        if count > ERRORS_SHOWN:
            self.stderr.write(f"… and {count - ERRORS_SHOWN} more: see the index entries in the admin.")
        return f"{count} of {document.name} failed" if count else ""

    def show_waiting(self, document: BoundDocument, report: Report) -> str:
        """Return a sentence with the number of products that are tried again later, or ""."""
        waiting = ngettext(
            "%d of %s waits for another try", "%d of %s wait for another try", report.postponed
        )
        return waiting % (report.postponed, document.name) if report.postponed else ""

    def needs_rebuild(self, document: BoundDocument) -> str:
        """Return what to do if `max_images` has changed since the collections were created, or ""."""
        if all(
            is_compatible(collection, document) for collection in Collection.objects.of(document).active()
        ):
            return ""
        return f"max_images has changed: run `manage.py clip_rebuild {document.name}`"


@contextmanager
def rarer_garbage_collection() -> Iterator[None]:
    """Run Python's garbage collector less often during the block: see `OBJECTS_BEFORE_GC`."""
    usual = gc.get_threshold()
    gc.set_threshold(child.OBJECTS_BEFORE_GC, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class Progress:
    """Shows how many products are done: a progress bar in a terminal, otherwise lines of text."""

    def __init__(self, command: DocumentCommand, total: int, doing: str, *, is_quiet: bool = False) -> None:
        self._command, self._total, self._doing, self._done = command, total, doing, 0
        self._started = self._said = time.monotonic()
        terminal = sys.stderr.isatty() and not is_quiet
        self._bar = tqdm(total=total, desc=doing, unit=" products", disable=not terminal, leave=False)
        self._plain = not terminal

    def add(self, products: int) -> None:
        """Count these products as done, and show the progress. Raises KeyboardInterrupt if one was lost."""
        self._done += products
        if self._done > self._total:
            self._total = self._bar.total = self._done
        self._bar.update(products)
        if self._plain and time.monotonic() - self._said > SECONDS_A_LINE:
            self._said = time.monotonic()
            self._command.stdout.write(self._line())
        if self._command.must_stop():
            raise KeyboardInterrupt

    @property
    def far(self) -> str:
        """How far it is, such as "Indexing product: 20 of 40"."""
        return f"{self._doing}: {self._done} of {self._total}"

    def _line(self) -> str:
        if not self._done:
            return self.far
        rate = self._done / (self._said - self._started)
        return f"{self.far}, {rate:.0f} a second, {(self._total - self._done) / rate:.0f} s left"

    def close(self) -> None:
        self._bar.close()


def truncated(document: str, count: int, product_ids: Sequence[str]) -> str:
    """Return a sentence with the number of texts that are longer than the model reads, and some of them."""
    named = ", ".join(product_ids) + ", …" * (count > len(product_ids))
    return (
        f"{document}: texts that are longer than the model reads: {count} ({named}). "
        "Put first what shoppers look for."
    )


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
    return f"{products(report.products)}: {said or 'nothing to do'} in {seconds:.1f} s"


def products(count: int) -> str:
    """Return "1 product" or "2 products"."""
    return ngettext("%d product", "%d products", count) % count
