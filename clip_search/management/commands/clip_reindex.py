"""Command that compares every product with the index, and indexes all that differ."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db.models import QuerySet
from django.utils.translation import ngettext

from clip_search import indexing, parallel, queue
from clip_search.conf import conf
from clip_search.documents.binding import BoundDocument
from clip_search.indexing.collections import repair
from clip_search.indexing.comparing import compare, mark_changed
from clip_search.indexing.counting import count_points, difference
from clip_search.indexing.housekeeping import purge_tombstones
from clip_search.indexing.related import expand_related
from clip_search.indexing.targets import get_target
from clip_search.indexing.upgrading import record_words
from clip_search.indexing.vocabulary import must_count
from clip_search.management.base import IMAGES, DocumentCommand, Progress, products, summary
from clip_search.models import Collection, IndexEntry, Run, Word
from clip_search.models.entries import IndexEntryQuerySet
from clip_search.models.paging import ROWS_PER_STATEMENT
from clip_search.types import Report

SECONDS_WITHOUT_PROGRESS = 120
"""How many seconds `--queue` waits for workers that make no progress."""


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
        parser.add_argument("--images", action="store_true", help=IMAGES)
        parser.add_argument("--dry-run", action="store_true", help="count what differs and change nothing")
        self.add_processes(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch_size"] <= ROWS_PER_STATEMENT:
            raise CommandError(f"--batch-size: name a number of products from 1 to {ROWS_PER_STATEMENT}.")
        if options["queue"] and not conf.queue:
            raise CommandError('--queue: CLIP_SEARCH["QUEUE"] is None. Name a queue of RQ_QUEUES there.')
        queues = getattr(settings, "RQ_QUEUES", {})
        if options["queue"] and conf.queue not in queues:
            known = ", ".join(queues) or "none"
            raise CommandError(f"--queue: RQ_QUEUES has no queue {conf.queue!r}. It has: {known}.")
        if options["queue"] and self.processes(options) > 1:
            raise CommandError("--processes: with --queue the workers index. Start more of them instead.")
        if options["images"] and options["dry_run"]:
            raise CommandError("--images: files are compared while they are indexed. Leave out --dry-run.")
        super().handle(*args, **options)

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        ids = options["ids"]
        if change := self.needs_rebuild(document):
            self.stderr.write(f"{document.name}: {change}")
        if options["dry_run"]:
            self.stdout.write(self.count_differences(document, ids))
            return ""
        self.check_ids(document, ids)
        if ids:
            return self.bring_up_to_date(document, options)[1]
        with Run.objects.recorded(document) as run:
            report, run.error = self.bring_up_to_date(document, options)
            run.counts = asdict(report)
        return run.error

    def bring_up_to_date(self, document: BoundDocument, options: dict[str, Any]) -> tuple[Report, str]:
        """Index what differs. Return the counts, and a sentence that says what failed, or ""."""
        started, ids = time.monotonic(), options["ids"]
        if options["images"]:
            self.chosen_entries(document, ids).read_images_again()
        last = Word.objects.last_key(document)
        words = Counter[str]() if not ids and must_count(document) else None
        report = compared = self.compare(document, options, words)
        report += self.watch(document, ids) if options["queue"] else self.index(document, options)
        if words is not None:
            Word.objects.replace(document, words, added_until=last)
        if not ids:
            if not compared.postponed:
                record_words(document)
            purge_tombstones(document)
        self.stdout.write(f"{document.name}: {summary(report, time.monotonic() - started)}")
        self.show_truncated(document)
        wrong = [self.show_failures(document), self.show_waiting(document, report)]
        if not ids:
            wrong.append(self.compare_counts(document))
        return report, "; ".join(filter(None, wrong))

    def compare_counts(self, document: BoundDocument) -> str:
        """Return what to do if the number of points is not that of the indexed products, or ""."""
        live = Collection.State.LIVE
        for collection in (c for c in get_target(document).writable if c.state == live):
            count = count_points(document, collection)
            if count.differs:
                return difference(document.name, count.points, count.entries[IndexEntry.State.INDEXED])
        return ""

    def check_ids(self, document: BoundDocument, ids: list[str] | None) -> None:
        """Raise CommandError if an id has neither an index entry nor a row to index."""
        keys = {document.point_id(product_id): product_id for product_id in ids or ()}
        entries = IndexEntry.objects.of(document).filter(uuid__in=list(keys))
        known = set(entries.values_list("product_id", flat=True)) | document.qualifying(list(keys.values()))
        if unknown := sorted(set(keys.values()) - known):
            raise CommandError(f"--ids: {document.name} has no {', '.join(unknown)}.")

    def count_differences(self, document: BoundDocument, ids: list[str] | None) -> str:
        """Return a sentence that says how many products a run would index and remove."""
        total, to_index, to_remove = Report(), 0, 0
        for page in compare(document, only=ids):
            total += page.unchanged
            to_remove += len(page.changed) if page.is_stale else 0
            to_index += 0 if page.is_stale else len(page.changed)
        waiting = IndexEntry.objects.of(document).due().count()
        return (
            f"{document.name}: {to_index} to index, {to_remove} to remove, {waiting} waiting already, "
            f"{total.unchanged} unchanged, {total.failed} failed before (dry run, nothing was changed)"
        )

    def compare(self, document: BoundDocument, options: dict[str, Any], words: Counter[str] | None) -> Report:
        """Mark the products that differ from the index as pending, and count the others, and the words."""
        ids, processes = options["ids"], self.processes(options)
        expand_related(document)
        repair(document)
        total = Report()
        rows = len(ids) if ids else document.queryset().count()
        with self.progress(rows, f"Comparing {document.name}") as progress:
            pages = parallel.compare(document, processes=processes, only=ids, words=words)
            with closing(pages):  # ends its processes, also if an entry cannot be marked
                for report in mark_changed(document, pages):
                    progress.add(report.products)
                    total += report
        return total

    def index(self, document: BoundDocument, options: dict[str, Any]) -> Report:
        """Index the pending products in this process, or in several."""
        total = Report()
        with self.progress(self.due(document, options["ids"]), f"Indexing {document.name}") as progress:
            for report in self.reports(document, options):
                progress.add(report.products)
                total += report
        return total

    def reports(self, document: BoundDocument, options: dict[str, Any]) -> Iterator[Report]:
        """Index the pending products, and yield the reports.

        Then wait for entries that others have claimed, but not much longer than a claim lasts: their process
        may have been killed.
        """
        ids, until = options["ids"], None
        while True:
            yield from parallel.index_due(
                document,
                processes=self.processes(options),
                product_ids=ids,
                batch_size=options["batch_size"],
                should_abandon=self.must_stop,
            )
            held = self.pending(document, ids).exclude(claim=None)  # or just expired
            until = until or time.monotonic() + 1.2 * indexing.LEASE.total_seconds()
            if not held.exists() or time.monotonic() > until:
                return
            time.sleep(0.2)

    def watch(self, document: BoundDocument, ids: list[str] | None) -> Report:
        """Wake the workers, which index the pending products, and wait until they are done."""
        left = self.due(document, ids)
        if left and not queue.wake(document):
            raise CommandError(
                f"The queue {conf.queue!r} cannot be used: Redis does not answer, or the settings are wrong: "
                "see the log. The products stay pending."
            )
        with self.progress(left, f"Workers indexing {document.name}") as progress:
            self.wait(document, ids, progress, left)
        self.stdout.write(f"{document.name}: workers indexed {products(left)}")
        return Report()

    def wait(self, document: BoundDocument, ids: list[str] | None, progress: Progress, left: int) -> None:
        moved = time.monotonic()
        while left:
            time.sleep(0.2)
            now = self.due(document, ids)
            progress.add(max(left - now, 0))
            moved = time.monotonic() if now < left else moved
            left = now
            if time.monotonic() - moved > SECONDS_WITHOUT_PROGRESS:
                waiting = ngettext("%d product waits", "%d products wait", left) % left
                raise CommandError(
                    f"Nothing was indexed for {SECONDS_WITHOUT_PROGRESS} s, {waiting}. Run "
                    "`manage.py clip_status`: it says whether a worker is alive, and why products wait."
                )

    def due(self, document: BoundDocument, ids: list[str] | None) -> int:
        """Return how many products are pending."""
        return self.pending(document, ids).count()

    def pending(self, document: BoundDocument, ids: list[str] | None) -> QuerySet[IndexEntry]:
        return self.chosen_entries(document, ids).filter(state=IndexEntry.State.PENDING)

    def chosen_entries(self, document: BoundDocument, ids: list[str] | None) -> IndexEntryQuerySet:
        entries = IndexEntry.objects.of(document)
        if ids:
            entries = entries.filter(uuid__in=[document.point_id(product_id) for product_id in ids])
        return entries
