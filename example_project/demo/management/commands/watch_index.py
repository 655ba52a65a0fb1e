"""Wait until the workers have indexed all products."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from django.utils.translation import ngettext

from clip_search.models import IndexEntry
from demo.steps import CLEAR_LINE

SECONDS_BETWEEN_COUNTS = 0.1
SECONDS_BETWEEN_LINES = 2.0
SHOWN_FAILURES = 5


class Command(BaseCommand):
    help = "Waits until the workers have indexed all products, and shows the progress."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--patience", type=float, default=60, help="fail after this many seconds without progress"
        )
        parser.add_argument("--strict", action="store_true", help="fail if a product cannot be indexed")

    def handle(self, *args: Any, **options: Any) -> None:
        self.shown_at = 0.0
        previous, changed_at = None, time.monotonic()
        while (counts := count_by_state()).get("pending"):
            if counts != previous:
                previous, changed_at = counts, time.monotonic()
                self.show(counts)
            elif time.monotonic() - changed_at > options["patience"]:
                raise CommandError(
                    f"Nothing was indexed for {options['patience']:.0f} s. Is a worker running?"
                )
            time.sleep(SECONDS_BETWEEN_COUNTS)
        if self.stdout.isatty():
            self.stdout.write(CLEAR_LINE, ending="")
        for entry in IndexEntry.objects.filter(state="failed")[:SHOWN_FAILURES]:
            self.stderr.write(f"            {entry} cannot be indexed: {entry.error}")
        if options["strict"] and counts.get("failed"):
            one, several = "%d product cannot be indexed.", "%d products cannot be indexed."
            raise CommandError(ngettext(one, several, counts["failed"]) % counts["failed"])

    def show(self, counts: dict[str, int]) -> None:
        """Show the progress: on a terminal in one line that changes, else in a line every two seconds."""
        total = sum(counts.values())
        of = ngettext("%d of %d product indexed", "%d of %d products indexed", total)
        line = f"            {of % (counts.get('indexed', 0), total)}"
        if self.stdout.isatty():
            self.stdout.write(CLEAR_LINE + line, ending="")
            self.stdout.flush()
        elif time.monotonic() - self.shown_at > SECONDS_BETWEEN_LINES:
            self.shown_at = time.monotonic()
            self.stdout.write(line)


def count_by_state() -> dict[str, int]:
    """Return the number of products by state, without those that were removed from the index."""
    states = IndexEntry.objects.exclude(state="removed").values("state")
    return {row["state"]: row["n"] for row in states.annotate(n=Count("pk"))}
