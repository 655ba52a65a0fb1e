"""Command that shows how many products are indexed, pending or failed, and what is wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.models import Count, Min
from django.utils.translation import ngettext

from clip_search.documents.binding import BoundDocument
from clip_search.exceptions import (
    ClipSearchError,
    CollectionMissing,
    ForeignCollection,
    StoreUnavailable,
    in_one_line,
)
from clip_search.indexing.leftovers import find_leftovers
from clip_search.indexing.rebuilding import next_step
from clip_search.management.base import DocumentCommand
from clip_search.models import Collection, IndexEntry, RelatedChange
from clip_search.stores import get_store


class Command(DocumentCommand):
    help = "Say what is indexed, what waits and what is wrong. Exits with status 1 if something is."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            super().handle(*args, **options)
        except CommandError:
            self.show_leftovers(options)
            raise
        self.show_leftovers(options)

    def show_leftovers(self, options: dict[str, Any]) -> None:
        """List leftovers that belong to no document, unless the command is run for some documents only."""
        if options["documents"]:
            return
        try:
            found = find_leftovers()
        except (ClipSearchError, DatabaseError) as error:
            self.stdout.write(f"cannot look for leftovers: {in_one_line(error)}")
            return
        if found:
            self.stdout.write("left over, see `manage.py clip_cleanup --dry-run`:")
        for leftover in found:
            self.stdout.write(f"  {leftover}")

    def handle_document(self, document: BoundDocument, options: dict[str, Any]) -> str:
        self.stdout.write(f"{document.name} ({document.model._meta.label})")
        collections = list(Collection.objects.of(document).order_by("generation", "pk"))
        trouble = [self.show_collection(collection) for collection in collections]
        entries = IndexEntry.objects.of(document)
        if not any(c.state == Collection.State.LIVE for c in collections):
            trouble.append(f"nothing can be found: run `manage.py clip_reindex {document.name}`")
        trouble.append(self.needs_rebuild(document))
        for row in (
            entries.values("state").annotate(count=Count("pk"), since=Min("not_before")).order_by("state")
        ):
            since = (
                f", longest since {row['since']:%Y-%m-%d %H:%M:%S %Z}" if row["state"] == "pending" else ""
            )
            self.stdout.write(f"  {row['state']}: {row['count']}{since}")
        if changes := RelatedChange.objects.using(document.using).filter(document=document.name).count():
            self.stdout.write(f"  related changes to follow: {changes}")
        with suppress(StoreUnavailable):  # which has been said
            self.show_truncated(document)
        return "; ".join(filter(None, [*trouble, self.show_failures(document)]))

    def show_collection(self, collection: Collection) -> str:
        """Print a collection with its size, and what becomes of it. Return what is wrong with it, or ""."""
        store, trouble = get_store(), ""
        try:
            points = store.count(collection.name)
            size = ngettext("%d point", "%d points", points) % points
            if collection.is_active:
                collection.check_installation()
        except CollectionMissing as error:
            size = "not in the store"
            trouble = str(error) if collection.is_active else ""
        except StoreUnavailable as error:
            size = trouble = str(error)
        except ForeignCollection as error:
            trouble = str(error)
        self.stdout.write(
            f"  collection {collection.name} ({collection.state}): {size}, "
            f"{collection.dimension} dimensions, model {collection.fingerprint[:12]}"
        )
        if step := next_step(collection):
            self.stdout.write(f"    {step}")
        return trouble
