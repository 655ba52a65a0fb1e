"""Command that removes rows, collections and files that no registered document uses any more."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseError

from clip_search.exceptions import ClipSearchError, in_one_line
from clip_search.indexing.leftovers import find_leftovers, remove
from clip_search.management.base import DocumentCommand
from clip_search.models.tables import naming_missing_tables


class Command(DocumentCommand):
    help = (
        "Remove what belongs to nothing any more: the rows and collections of documents that are not "
        "registered, collections that no row names, and files of processes that were killed. Asks first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:  # without the argument for documents
        parser.add_argument("--dry-run", action="store_true", help="name what is left and remove nothing")
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="remove without asking"
        )
        parser.add_argument(
            "--other-databases",
            action="store_true",
            help="also collections that were made for another database, such as of tests that were killed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with naming_missing_tables():
                self.clean_up(**options)
        except (ClipSearchError, DatabaseError) as error:
            raise CommandError(in_one_line(error)) from error

    def clean_up(self, *, dry_run: bool, interactive: bool, other_databases: bool, **options: Any) -> None:
        """List the leftovers, ask for confirmation, and remove them. Raises ClipSearchError."""
        found = find_leftovers(other_databases=other_databases)
        for leftover in found:
            self.stdout.write(str(leftover))
        removable = [leftover for leftover in found if not leftover.kept]
        if dry_run or not removable:
            self.stdout.write(f"{len(removable)} to remove" + (" (dry run)" if dry_run else ""))
            return
        if interactive and not self.agreed(len(removable)):
            self.stdout.write("Nothing was removed.")
            return
        still = find_leftovers(other_databases=other_databases)  # the user may have answered late
        removable = [leftover for leftover in removable if leftover in still]
        for leftover in removable:
            remove(leftover)
        self.stdout.write(f"{len(removable)} removed")

    def agreed(self, count: int) -> bool:
        """Ask the user whether to remove the leftovers. Return False if there is no terminal to ask."""
        try:
            return input(f"Remove {count}? This cannot be undone. Type 'yes' to go on: ").strip() == "yes"
        except EOFError:
            return False
