"""Command that compares all rows with all points, in both directions, and repairs differences."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from itertools import chain
from typing import Any

from django.utils.translation import ngettext

from clip_search import indexing
from clip_search.documents.binding import BoundDocument
from clip_search.indexing.collections import repair
from clip_search.indexing.comparing import compare, mark_changed, orphans, removed
from clip_search.indexing.upgrading import record_words
from clip_search.management.base import DocumentCommand, summary
from clip_search.types import Report

DIFFERENCES_SHOWN = 20


class Command(DocumentCommand):
    help = (
        "Compare every product with its point, and every point with its product, and repair what differs: "
        "clip_reindex, and beyond it points of which the database knows nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="say what differs and change nothing")

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        started, total, pages = time.monotonic(), Report(), []
        if change := self.needs_rebuild(document):
            self.stderr.write(f"{document.name}: {change}")
        if not options["dry_run"]:
            repair(document)
        with self.progress(document.queryset().count(), f"Comparing {document.name}") as progress:
            for page in chain(compare(document, replicas=True), removed(document), orphans(document)):
                progress.add(page.unchanged.products + len(page.changed))
                pages.append(page)
        if reason := next((page.not_compared for page in pages if page.not_compared), ""):
            self.stderr.write(f"{document.name}: replicas were not compared with each other: {reason}")
        differing = sorted({product_id for page in pages for product_id in page.changed})
        for product_id in differing[:DIFFERENCES_SHOWN]:
            self.stdout.write(f"{document.name} {product_id}: differs from the index")
        if len(differing) > DIFFERENCES_SHOWN:
            self.stdout.write(f"… and {len(differing) - DIFFERENCES_SHOWN} more")
        count = ngettext("%d differs", "%d differ", len(differing)) % len(differing)
        if options["dry_run"]:
            self.stdout.write(f"{document.name}: {count} (dry run, nothing was changed)")
            of = ngettext("%d of %s differs", "%d of %s differ", len(differing))
            return of % (len(differing), document.name) if differing else ""
        if differing:
            self.stdout.write(f"{document.name}: {count}")
        total = sum(mark_changed(document, pages, unconfirmed=True), total)
        with self.progress(len(differing), f"Indexing {document.name}") as progress:
            for report in indexing.index_due(document, should_abandon=self.must_stop):
                progress.add(report.products)
                total += report
        if not any(page.unchanged.postponed for page in pages):
            record_words(document)
        self.stdout.write(f"{document.name}: {summary(total, time.monotonic() - started)}")
        return self.show_failures(document) or self.show_waiting(document, total)
