"""Watch the workers bring the index up to date."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count

from clip_search.models import IndexEntry
from demo.steps import START_OVER

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_BETWEEN_LINES = 2.0
MOST_FAILURES_SHOWN = 5


class Command(BaseCommand):
    help = "Shows the index growing until nothing is waiting any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--patience", type=float, default=60, help="seconds to wait without progress")
        parser.add_argument("--strict", action="store_true", help="fail if a product cannot be indexed")

    def handle(self, *args: Any, **options: Any) -> None:
        self.shown_at = 0.0
        before, changed_at = None, time.monotonic()
        while (now := counts()).get("pending"):
            if now != before:
                before, changed_at = now, time.monotonic()
                self.show(now)
            elif time.monotonic() - changed_at > options["patience"]:
                raise CommandError(f"Nothing was indexed for {options['patience']:.0f} s. Does a worker run?")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if self.stdout.isatty():
            self.stdout.write(START_OVER, ending="")
        for entry in IndexEntry.objects.filter(state="failed")[:MOST_FAILURES_SHOWN]:
            self.stderr.write(f"            {entry} cannot be indexed: {entry.error}")
        if options["strict"] and now.get("failed"):
            raise CommandError(f"{now['failed']} products cannot be indexed")

    def show(self, now: dict[str, int]) -> None:
        """Overwrite a terminal's line; elsewhere, write one from time to time."""
        line = f"            {now.get('indexed', 0)} of {sum(now.values())} products are indexed"
        if self.stdout.isatty():
            self.stdout.write(START_OVER + line, ending="")
            self.stdout.flush()
        elif time.monotonic() - self.shown_at > SECONDS_BETWEEN_LINES:
            self.shown_at = time.monotonic()
            self.stdout.write(line)


def counts() -> dict[str, int]:
    """Return how many products are in which state, without those that left the index."""
    states = IndexEntry.objects.exclude(state="removed").values("state")
    return {row["state"]: row["n"] for row in states.annotate(n=Count("pk"))}
