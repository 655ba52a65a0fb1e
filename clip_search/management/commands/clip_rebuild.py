"""Command that builds a new collection, and then lets searches use it instead of the old one."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.utils.translation import ngettext

from clip_search import parallel
from clip_search.conf import conf
from clip_search.documents.binding import BoundDocument
from clip_search.indexing.rebuilding import adopt, rebuild
from clip_search.management.base import IMAGES, DocumentCommand, summary
from clip_search.models import IndexEntry
from clip_search.types import Report


class Command(DocumentCommand):
    help = (
        "Index everything into a new collection and swap it for the live one. Needed after a change of "
        "MODEL, TEXT_MODEL, COLLECTION_OPTIONS, max_images or a filter's type, and in a copy of the database "
        "(INSTALLATION). Interrupted, it continues."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--images", action="store_true", help=IMAGES)
        self.add_processes(parser)
        parser.add_argument(
            "--adopt",
            action="store_true",
            help="build nothing: name the collections after INSTALLATION, if no other installation uses them",
        )

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        if options["adopt"]:
            count = adopt(document)
            collections = ngettext("collection belongs", "collections belong", count)
            self.stdout.write(f"{document.name}: {count} {collections} to installation {conf.installation!r}")
            return ""
        started, total = time.monotonic(), Report()
        count = IndexEntry.objects.of(document).count()
        with self.progress(count, f"Rebuilding {document.name}") as progress:
            index = partial(
                parallel.index_due, processes=self.processes(options), should_abandon=self.must_stop
            )
            for report in rebuild(document, images=options["images"], index=index):
                progress.add(report.products)
                total += report
        self.stdout.write(f"{document.name}: {summary(total, time.monotonic() - started)}")
        self.show_truncated(document)
        return self.show_failures(document)
