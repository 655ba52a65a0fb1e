"""The nightly run and everyday tool: bring the index up to what the shop says now."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db.models import QuerySet

from clip_search import indexing, jobs, reindexing
from clip_search.conf import conf
from clip_search.documents import Document
from clip_search.management.documents import DocumentCommand, Progress, summary
from clip_search.models import ROWS_PER_STATEMENT, IndexEntry
from clip_search.types import Report

SECONDS_WITHOUT_PROGRESS = 120
"""How long `--queue` waits for workers that do nothing."""


class Command(DocumentCommand):
    help = (
        "Compare every product with the index and index what differs: only what changed is embedded, and "
        "what is gone is removed. Run it nightly. Interrupt it at any moment and run it again: it continues."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--ids", nargs="+", metavar="ID", help="only these product ids")
        parser.add_argument(
            "--batch-size", type=int, default=indexing.BATCH, help="products a batch (%(default)s)"
        )
        parser.add_argument(
            "--queue", action="store_true", help="hand the work to the workers and watch them"
        )
        parser.add_argument("--dry-run", action="store_true", help="count what differs and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch_size"] <= ROWS_PER_STATEMENT:
            raise CommandError(f"--batch-size: name a number of products from 1 to {ROWS_PER_STATEMENT}.")
        if options["queue"] and not conf.queue:
            raise CommandError('--queue: CLIP_SEARCH["QUEUE"] is None. Name a queue of RQ_QUEUES there.')
        if options["queue"] and conf.queue not in settings.RQ_QUEUES:
            known = ", ".join(settings.RQ_QUEUES)
            raise CommandError(f"--queue: RQ_QUEUES has no queue {conf.queue!r}. It has: {known}.")
        super().handle(*args, **options)

    def handle_document(self, document: Document, options: dict[str, Any]) -> str:
        started, ids = time.monotonic(), options["ids"]
        if options["dry_run"]:
            self.stdout.write(self.count_differences(document, ids))
            return ""
        self.check_ids(document, ids)
        report = self.compare(document, ids, index=not options["queue"])
        report += (self.watch if options["queue"] else self.index)(document, ids, options["batch_size"])
        if not ids:
            reindexing.purge_tombstones(document)
        self.stdout.write(f"{document.name}: {summary(report, time.monotonic() - started)}")
        postponed = f"{report.postponed} of {document.name} wait for another try" if report.postponed else ""
        return self.show_failures(document) or postponed

    def check_ids(self, document: Document, ids: list[str] | None) -> None:
        """Raise CommandError for an id that nothing is known of."""
        keys = {document.point_id(product_id): product_id for product_id in ids or ()}
        entries = IndexEntry.objects.of(document).filter(uuid__in=list(keys))
        known = set(entries.values_list("product_id", flat=True)) | document.qualifying(list(keys.values()))
        if unknown := sorted(set(keys.values()) - known):
            raise CommandError(f"--ids: {document.name} has no {', '.join(unknown)}.")

    def count_differences(self, document: Document, ids: list[str] | None) -> str:
        """Return what a run would do, in counts."""
        total, to_index, to_remove = Report(), 0, 0
        for page in reindexing.walk(document, only=ids):
            total += page.unchanged
            to_remove += len(page.changed) if page.gone else 0
            to_index += 0 if page.gone else len(page.changed)
        waiting = IndexEntry.objects.of(document).due().count()
        return (
            f"{document.name}: {to_index} to index, {to_remove} to remove, {waiting} waiting already, "
            f"{total.unchanged} unchanged, {total.failed} failed before (dry run, nothing was changed)"
        )

    def compare(self, document: Document, ids: list[str] | None, *, index: bool) -> Report:
        """Raise what differs from the index, and count what does not; `index` here what needs no model."""
        reindexing.expand_related(document)
        indexing.mend(document)
        total = Report()
        rows = len(ids) if ids else document.get_queryset().using(document.using).count()
        with self.progress(rows, f"Comparing {document.name}") as progress:
            pages = reindexing.walk(document, only=ids, readings=index)
            for report in reindexing.raise_changed(document, pages):
                progress.add(report.products)
                total += report
        return total

    def index(self, document: Document, ids: list[str] | None, batch_size: int) -> Report:
        """Index here what is due."""
        total = Report()
        with self.progress(self.due(document, ids), f"Indexing {document.name}") as progress:
            for report in self.reports(document, ids, batch_size):
                progress.add(report.products)
                total += report
        return total

    def reports(self, document: Document, ids: list[str] | None, batch_size: int) -> Iterator[Report]:
        """Index what is due, and wait for what others hold: who has died lets go when a lease ends."""
        patience = time.monotonic() + 1.2 * indexing.LEASE.total_seconds()
        while True:
            yield from indexing.index_due(document, product_ids=ids, claiming=lambda: batch_size)
            held = self.pending(document, ids).exclude(claim=None)  # or were, a moment ago
            if not held.exists() or time.monotonic() > patience:
                return
            time.sleep(0.2)

    def watch(self, document: Document, ids: list[str] | None, batch_size: int) -> Report:
        """Have the workers index what is due, and wait for them."""
        left = self.due(document, ids)
        if left and not jobs.wake(document):
            raise CommandError(f"Redis does not answer for queue {conf.queue!r}. What is due waits for it.")
        with self.progress(left, f"Workers indexing {document.name}") as progress:
            self.wait(document, ids, progress, left)
        self.stdout.write(f"{document.name}: workers indexed {left} products")
        return Report()

    def wait(self, document: Document, ids: list[str] | None, progress: Progress, left: int) -> None:
        moved = time.monotonic()
        while left:
            time.sleep(0.2)
            now = self.due(document, ids)
            progress.add(max(left - now, 0))
            moved = time.monotonic() if now < left else moved
            left = now
            if time.monotonic() - moved > SECONDS_WITHOUT_PROGRESS:
                raise CommandError(
                    f"No worker has done anything for {SECONDS_WITHOUT_PROGRESS} s, {left} products wait. "
                    f"Start one: manage.py rqworker {conf.queue}"
                )

    def due(self, document: Document, ids: list[str] | None) -> int:
        """Return how many products are to be indexed."""
        return self.pending(document, ids).count()

    def pending(self, document: Document, ids: list[str] | None) -> QuerySet[IndexEntry]:
        entries = IndexEntry.objects.of(document).filter(state=IndexEntry.State.PENDING)
        if ids:
            entries = entries.filter(uuid__in=[document.point_id(product_id) for product_id in ids])
        return entries
