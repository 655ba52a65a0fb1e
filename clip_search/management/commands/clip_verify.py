"""Compare the index with the shop, in both directions, and repair it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from itertools import chain
from typing import Any

from clip_search import indexing
from clip_search.documents.binding import BoundDocument
from clip_search.indexing.collections import repair
from clip_search.indexing.comparing import compare, mark_changed, orphans
from clip_search.management.base import DocumentCommand, summary
from clip_search.types import Report


class Command(DocumentCommand):
    help = (
        "Compare every product with its point, and every point with its product, and repair what differs: "
        "clip_reindex, and beyond it points of which the database knows nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="say what differs and change nothing")

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        started, total = time.monotonic(), Report()
        if not options["dry_run"]:
            repair(document)
        pages = list(chain(compare(document), orphans(document)))
        differing = sorted({product_id for page in pages for product_id in page.changed})
        for product_id in differing:
            self.stdout.write(f"{document.name} {product_id}: differs from the index")
        if options["dry_run"]:
            self.stdout.write(f"{document.name}: {len(differing)} differ (dry run, nothing was changed)")
            return f"{len(differing)} of {document.name} differ" if differing else ""
        reports = [*mark_changed(document, pages), *indexing.index_due(document)]
        total = sum(reports, total)
        self.stdout.write(f"{document.name}: {summary(total, time.monotonic() - started)}")
        return self.show_failures(document)
