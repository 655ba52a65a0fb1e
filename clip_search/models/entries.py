"""The outbox: one `IndexEntry` for each product, with its state (such as pending) and last error."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django.db import connections, models, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..documents.binding import BoundDocument
from ..types import MODEL_SOURCE, POSTED_SOURCE
from .paging import chunks
from .retries import end_interrupted_transaction, retried

LONGEST_WAIT = timedelta(minutes=10)
"""All leases and retry delays are shorter than this."""
BROKEN_OFF: Final = {"unconfirmed": True, "revision": F("revision") + 1}
"""What an entry gets if the write of its point was refused or broken off, so that replicas may differ.

The whole point is written again. With a higher revision, every replica accepts it, whatever each one has.
"""
REVISIONS_AHEAD: Final = 1000
"""How far the revision rises if replicas differ: above that of each one, although only one of them is read.

In a database that was restored from a backup, an entry has a lower revision than its point.
"""


class IndexEntryQuerySet(models.QuerySet["IndexEntry"]):
    """Changes the state of entries. Each method takes few SQL statements, however many entries there are."""

    def of(self, document: BoundDocument) -> IndexEntryQuerySet:
        """Return the entries of this document, from the document's database."""
        return self.using(document.using).filter(document=document.name)

    def mark_changed(
        self,
        document: BoundDocument,
        product_ids: Iterable[str],
        *,
        source: str = MODEL_SOURCE,
        take_over: bool = True,
        images: bool = False,
        unconfirmed: bool = False,
    ) -> int:
        """Mark products as pending and raise their revision by one. Return the number of products.

        Missing entries are created. `source` says what is indexed: the shop's row or the posted product; the
        last call decides. With `take_over=False`, entries with another source are not changed, unless their
        product is removed. With `images`, the image files are read again, even if they seem unchanged. With
        `unconfirmed`, the whole points are written again, even if they seem unchanged, and the revision rises
        by REVISIONS_AHEAD.
        """
        ids = sorted({document.point_id(product_id): product_id for product_id in product_ids}.items())
        entries = [
            IndexEntry(uuid=key, document=document.name, product_id=product_id, source=source)
            for key, product_id in ids
        ]
        values: dict[str, Any] = {"revision": F("revision") + 1}
        if unconfirmed:
            values = {"revision": F("revision") + REVISIONS_AHEAD, "unconfirmed": True}
        if images:
            values["generation"] = 0
        self.of(document)._mark(entries, source, take_over, values)
        return len(entries)

    @retried
    def _mark(
        self, entries: list[IndexEntry], source: str, take_over: bool, values: Mapping[str, Any]
    ) -> None:
        now = timezone.now()
        with transaction.atomic(using=self.db, savepoint=False):
            for some in chunks(entries):
                rows = self._with_missing(some)
                if not take_over:
                    rows = rows.filter(Q(source=source) | Q(state=IndexEntry.State.REMOVED))
                rows.update(
                    pending_since=_kept_if_pending(now),
                    **values,
                    state=IndexEntry.State.PENDING,
                    source=source,
                    not_before=now,
                    attempts=0,
                    error="",
                    updated_at=now,
                )

    def _with_missing(self, entries: Sequence[IndexEntry]) -> IndexEntryQuerySet:
        """Create the entries that are missing. Return all of them, ready for an update without deadlocks.

        PostgreSQL updates rows in any order, so here an upsert first locks them in the order of their uuids.
        MariaDB locks each row that an insert conflicts with, so only missing entries are inserted; if none is
        missing, the rows are found by primary key, because by uuid MariaDB may lock the whole table. SQLite
        always locks the whole database; there, existing entries are not inserted, to save parameters.
        """
        rows = self.filter(uuid__in=[entry.uuid for entry in entries])
        vendor = connections[self.db].vendor
        upsert: dict[str, Any] = {"update_conflicts": True, "update_fields": ["product_id"]}
        if vendor == "postgresql":
            self.bulk_create(entries, unique_fields=["uuid"], **upsert)
            return rows
        there = dict(rows.values_list("uuid", "pk")) if vendor == "mysql" or len(entries) > 1 else {}
        new = [entry for entry in entries if entry.uuid not in there]
        if not new:
            return self.filter(pk__in=there.values())
        self.bulk_create(new, **(upsert if vendor == "mysql" else {"ignore_conflicts": True}))
        return rows

    def due(self, now: datetime | None = None) -> IndexEntryQuerySet:
        """Return the pending entries that a worker may claim now.

        New changes are due immediately, even if the clock of the machine that saved them is ahead. A lease or
        delay that ends later than `LONGEST_WAIT` from now can only come from a wrong clock, and is ignored.
        """
        now = now or timezone.now()
        beyond = now + LONGEST_WAIT
        free = Q(claim=None) | Q(claimed_until__lte=now) | Q(claimed_until__gt=beyond)
        over = Q(attempts=0) | Q(not_before__lte=now) | Q(not_before__gt=beyond)
        return self.filter(free, over, state=IndexEntry.State.PENDING)

    @retried
    def claim(
        self, limit: int, lease: timedelta, only: Sequence[uuid.UUID] | None = None
    ) -> list[IndexEntry]:
        """Claim at most `limit` due entries for the duration `lease`, and return them.

        Entries that have been due longest come first. If `only` is given, claim only these uuids. An entry
        whose claim has expired is marked as unconfirmed: its worker may have been killed while it wrote.
        """
        token = uuid.uuid4()
        try:
            return self._claim(token, limit, lease, only)
        except Exception:
            raise
        except BaseException:  # Ctrl-C, perhaps after the claims were committed
            end_interrupted_transaction(self.db)
            self.release(list(self.filter(claim=token)))
            raise

    def _claim(
        self, token: uuid.UUID, limit: int, lease: timedelta, only: Sequence[uuid.UUID] | None
    ) -> list[IndexEntry]:
        now = timezone.now()
        due = self.due(now)
        candidates = (due if only is None else due.filter(uuid__in=only)).order_by("not_before", "id")
        with transaction.atomic(using=self.db):
            if connections[self.db].features.has_select_for_update_skip_locked:
                candidates = candidates.select_for_update(skip_locked=True)
            picked = dict(candidates.values_list("pk", "claim")[:limit])
            if not picked:
                return []
            if expired := [key for key, claim in picked.items() if claim]:
                due.filter(pk__in=expired).update(**BROKEN_OFF)
            due.filter(pk__in=picked).update(
                claim=token, claimed_until=now + lease, claimed_revision=F("revision")
            )
        return list(self.filter(claim=token).order_by("id"))

    def still_claimed(self, entries: Sequence[IndexEntry]) -> IndexEntryQuerySet:
        """Return those of the entries whose claim is still the one with which they were read."""
        claims = {entry.claim for entry in entries}
        return self.filter(pk__in=[entry.pk for entry in entries], claim__in=claims)

    @retried
    def _update_in_order(self, **values: Any) -> int:
        """Update the rows, and return how many there are.

        On PostgreSQL, first lock them in the same order as `mark_changed()`, to avoid deadlocks.
        """
        with transaction.atomic(using=self.db):
            if connections[self.db].vendor == "postgresql":
                list(self.select_for_update().order_by("uuid").values_list("pk"))
            return self.update(**values)

    def finish(self, entries: Sequence[IndexEntry], state: str, generation: int, error: str = "") -> int:
        """Record the result of indexing and end the claims. Return the number of updated entries.

        Entries whose claim or revision has changed since are skipped. If a product failed, its
        `indexed_revision` stays as it is; otherwise the status endpoint would answer "indexed" as soon as the
        product is scheduled again. Nothing else confirms an entry: `unconfirmed` is cleared here only.
        """
        now = timezone.now()
        reached = "indexed_revision" if state == IndexEntry.State.FAILED else "revision"
        done = self.still_claimed(entries).filter(revision=F("claimed_revision"))
        return done._update_in_order(
            **(BROKEN_OFF if any(entry.unconfirmed for entry in entries) else {"unconfirmed": False}),
            state=state,
            indexed_revision=F(reached),
            generation=generation,
            error=_storable(error),
            indexed_at=now,
            updated_at=now,
            attempts=0,
            claim=None,
            claimed_until=None,
        )

    def renew(self, entries: Sequence[IndexEntry], lease: timedelta) -> None:
        """Let the claims of these entries last for `lease` from now, unless they were lost."""
        self.still_claimed(entries)._update_in_order(claimed_until=timezone.now() + lease)

    def release(
        self, entries: Sequence[IndexEntry], delay: float = 0.0, error: str = "", *, written: bool = False
    ) -> None:
        """End the claims. The entries stay pending, and become due after `delay` seconds.

        `written` means that a point was written, but the entry has a newer revision, which is pending.
        """
        done = {"indexed_at": timezone.now()} if written else {}
        broken_off = BROKEN_OFF if any(entry.unconfirmed for entry in entries) else {}
        self.still_claimed(entries)._update_in_order(
            **done,
            **broken_off,
            claim=None,
            claimed_until=None,
            not_before=timezone.now() + timedelta(seconds=delay),
            attempts=F("attempts") + (1 if delay else 0),
            error=_storable(error),
        )

    def overtake(self, entry: IndexEntry, revision: int) -> None:
        """Raise the entry's revision above `revision`, which its stored point has, and end the claim.

        This is needed when an older backup of the database was restored.
        """
        self.still_claimed([entry]).filter(revision=F("claimed_revision"))._update_in_order(
            revision=revision + 1, claim=None, claimed_until=None
        )

    def revoke_claims(self) -> None:
        """End all claims. The workers that hold them can record no result, and pending entries are due."""
        self.exclude(claim=None)._update_in_order(**BROKEN_OFF, claim=None, claimed_until=None)

    def read_images_again(self) -> int:
        """Mark entries as pending. Their image files are read again even if they seem unchanged."""
        now = timezone.now()
        return self.exclude(state=IndexEntry.State.REMOVED)._update_in_order(
            pending_since=_kept_if_pending(now),
            generation=0,
            revision=F("revision") + 1,
            state=IndexEntry.State.PENDING,
            not_before=now,
            attempts=0,
            error="",
            updated_at=now,
        )

    def mark_all_due(self) -> int:
        """Mark all entries as pending, so that every product is indexed again. Return the number changed.

        This is needed when the collection is lost or is being replaced.
        """
        now = timezone.now()
        return self.exclude(state=IndexEntry.State.PENDING).update(
            state=IndexEntry.State.PENDING, pending_since=now, not_before=now, attempts=0
        )


class IndexEntry(models.Model):
    """The index state of one product: pending, indexed, failed or removed, with its last error."""

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        INDEXED = "indexed", _("indexed")
        FAILED = "failed", _("failed")
        REMOVED = "removed", _("removed")

    class Source(models.TextChoices):
        MODEL = MODEL_SOURCE, _("shop")
        POSTED = POSTED_SOURCE, _("posted")

    MAX_ERROR: ClassVar[int] = 1000

    uuid = models.UUIDField(unique=True, editable=False, help_text=_("UUIDv5 of document and product id"))
    document = models.CharField(max_length=100)
    product_id = models.CharField(max_length=255)
    source = models.CharField(max_length=10, choices=Source, default=Source.MODEL)
    revision = models.PositiveBigIntegerField(default=0)
    indexed_revision = models.PositiveBigIntegerField(default=0)
    generation = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    claim = models.UUIDField(null=True, blank=True, db_index=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    claimed_revision = models.PositiveBigIntegerField(default=0)
    not_before = models.DateTimeField(default=timezone.now)
    pending_since = models.DateTimeField(
        default=timezone.now, help_text=_("when it became pending, also if it was saved again since")
    )
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    unconfirmed = models.BooleanField(
        default=False,
        help_text=_("its last write was refused or broken off, so the whole point is written again"),
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    indexed_at = models.DateTimeField(null=True, blank=True)

    objects = IndexEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("index entry")
        verbose_name_plural = _("index entries")
        indexes: ClassVar = [
            models.Index(fields=["document", "state", "not_before", "id"], name="clip_search_due"),
            models.Index(fields=["document", "product_id"], name="clip_search_product"),
        ]

    def __str__(self) -> str:
        return f"{self.document} {self.product_id}"

    @property
    def reads_images(self) -> bool:
        """Whether the image files are read even if their signatures have not changed.

        This is True if `generation` is 0: the entry was never written to a collection, or
        `read_images_again()` was called.
        """
        return self.generation == 0

    @property
    def is_being_indexed(self) -> bool:
        """Whether a worker has claimed this entry, and the claim has not expired."""
        return (
            self.claim is not None and self.claimed_until is not None and self.claimed_until > timezone.now()
        )


def _kept_if_pending(now: datetime) -> Case:
    """Return the new `pending_since` of an entry that becomes pending: unchanged if it is pending already.

    It must be the first value of an update: MariaDB assigns values in their order, and this reads `state`.
    """
    return Case(When(state=IndexEntry.State.PENDING, then=F("pending_since")), default=Value(now))


def _storable(error: str) -> str:
    """Return an error message that every database can store: shortened, without NUL and lone surrogates."""
    return error.encode("utf-8", "replace").decode().replace("\0", "")[: IndexEntry.MAX_ERROR]
