"""Command that shows what is indexed, what waits or failed, who indexes it, and what is wrong."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import fields
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import ngettext

from clip_search.exceptions import ClipSearchError
from clip_search.management.base import DocumentCommand, summary, truncated
from clip_search.models import IndexEntry
from clip_search.status import MAX_AGE, DocumentStatus, QueueStatus, Status, get_status
from clip_search.status.findings import MISSING, UNFINISHED
from clip_search.status.values import CollectionStatus, Reason, RunStatus
from clip_search.types import Report

TIME = "%Y-%m-%d %H:%M:%S %Z"


class Command(DocumentCommand):
    help = "Say what is indexed, what waits and what is wrong. Exits with status 1 if something is."
    requires_migrations_checks = False  # it must also work, and print only JSON, if the database is down

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        parser.add_argument(
            "--max-age",
            type=float,
            default=MAX_AGE,
            metavar="SECONDS",
            help="how long products may wait before something is wrong (%(default)g)",
        )
        parser.add_argument(
            "--check-writes", action="store_true", help="try a write to each collection that changes nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        documents = self.chosen(options["documents"])
        try:
            status = get_status(
                documents if options["documents"] else (),
                max_age=options["max_age"],
                check_writes=options["check_writes"],
            )
        except ClipSearchError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(status.as_json(), indent=2))
        else:
            self.show(status)
        if status.problems:
            raise CommandError("\n".join(problem.message for problem in status.problems))

    def show(self, status: Status) -> None:
        for document in status.documents:
            self.show_document(document)
        if status.queue and not status.queue.error:
            self.show_queue(status.queue)
        for note in status.notes:
            if note.code != UNFINISHED:  # which is shown with the collection
                self.stdout.write(note.message)
        if status.leftovers:
            self.stdout.write("left over, see `manage.py clip_cleanup --dry-run`:")
        for leftover in status.leftovers or ():
            self.stdout.write(f"  {leftover}")

    def show_document(self, document: DocumentStatus) -> None:
        self.stdout.write(f"{document.name} ({document.model})")
        for collection in document.collections:
            self.show_collection(collection)
        self.stdout.write(f"  rows: {document.rows}")
        for state, count in sorted(document.entries.items()):
            since = document.pending_since if state == IndexEntry.State.PENDING else None
            if count:
                self.stdout.write(f"  {state}: {count}{f', longest since {since:{TIME}}' if since else ''}")
        if document.related_changes:
            self.stdout.write(f"  related changes to follow: {document.related_changes}")
        if document.without_image:
            self.stdout.write(f"  without image: {document.without_image}")
        if document.truncated:
            self.stdout.write(truncated(document.name, document.truncated, document.truncated_ids))
        if document.last_run:
            self.stdout.write(f"  last clip_reindex: {_run(document.last_run)}")
        for reason in document.failed_reasons:
            self.stderr.write(f"{document.name} {_products(reason)}: {reason.reason}")

    def show_collection(self, collection: CollectionStatus) -> None:
        size = "not in the store" if collection.error_code == MISSING else "points not counted"
        if collection.points is not None:
            about = "" if collection.is_exact else "about "
            size = about + ngettext("%d point", "%d points", collection.points) % collection.points
        self.stdout.write(
            f"  collection {collection.name} ({collection.state}): {size}, "
            f"{collection.dimension} dimensions, model {collection.fingerprint[:12]}"
        )
        if collection.next_step:
            self.stdout.write(f"    {collection.next_step}")

    def show_queue(self, queue: QueueStatus) -> None:
        jobs = ngettext("%d job", "%d jobs", queue.length or 0) % (queue.length or 0)
        workers = ngettext("%d worker", "%d workers", len(queue.workers)) % len(queue.workers)
        suspended = ", suspended" if queue.is_suspended else ""
        self.stdout.write(f"queue {queue.name}: {jobs}, {workers}{suspended}")
        for worker in queue.workers:
            version = f", version {worker.version}, model {worker.fingerprint[:12]}" if worker.version else ""
            self.stdout.write(f"  worker {worker.name} on {worker.hostname} ({worker.state}){version}")


def _products(reason: Reason) -> str:
    """Return "42, 43 and 8 more"."""
    named, others = ", ".join(reason.product_ids), reason.count - len(reason.product_ids)
    return f"{named} and {others} more" if others else named


def _run(run: RunStatus) -> str:
    """Return when a run started, and its error or its counts and how long it took."""
    if run.ended_at is None:
        return f"{run.started_at:{TIME}}, not ended"
    report = Report(**{field.name: run.counts.get(field.name, 0) for field in fields(Report)})
    did = run.error or summary(report, (run.ended_at - run.started_at).total_seconds())
    return f"{run.started_at:{TIME}}, {did}"
