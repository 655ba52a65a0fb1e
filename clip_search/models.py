"""What is to be done, and what was done: the outbox, the collections and the posted products."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from django.core.files.storage import Storage
from django.core.files.uploadedfile import UploadedFile
from django.db import OperationalError, connections, models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .documents import Document, clean, normalise
from .exceptions import ProductError, StorageUnavailable, in_one_line
from .types import MODEL_SOURCE, POSTED_SOURCE, Content

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile

logger = logging.getLogger(__name__)

ROWS_PER_STATEMENT = 1000
"""Below every database's limit of parameters in one statement."""


LONGEST_WAIT = timedelta(minutes=10)
"""Longer than any lease and any delay between two tries."""
TRIES = 10
"""How often a transaction of ours is tried that gave way to another one, as under REPEATABLE READ."""
GAVE_WAY = frozenset({"40001", "40P01", 1213})
"""Serialization failure and deadlock: PostgreSQL's codes, MariaDB's."""

Method = TypeVar("Method", bound=Callable[..., Any])
Result = TypeVar("Result")


def persistently(using: str, work: Callable[[], Result]) -> Result:
    """Do a transaction's work, and do it again where the database gave it up for another one's sake.

    Inside a transaction of the host that is his to do: the database gave up all of it.
    """
    for tried in range(1, TRIES):
        try:
            return work()
        except OperationalError as error:
            if not _gave_way(error) or connections[using].in_atomic_block:
                raise
        time.sleep(random.uniform(0, 0.01 * tried))  # noqa: S311
    return work()


def _persistent(method: Method) -> Method:
    """Make a method of a queryset do its work `persistently`."""

    @wraps(method)
    def persist(self: IndexEntryQuerySet, *args: Any, **kwargs: Any) -> Any:
        return persistently(self.db, partial(method, self, *args, **kwargs))

    return cast(Method, persist)


def _gave_way(error: OperationalError) -> bool:
    code = getattr(error.__cause__, "sqlstate", None) or next(iter(error.args), None)
    return code in GAVE_WAY


class IndexEntryQuerySet(models.QuerySet["IndexEntry"]):
    """The transitions of entries, each in few statements for any number of rows."""

    def of(self, document: Document) -> IndexEntryQuerySet:
        """Return the document's entries, on its database."""
        return self.using(document.using).filter(document=document.name)

    def raise_revision(
        self,
        document: Document,
        product_ids: Iterable[str],
        *,
        source: str = MODEL_SOURCE,
        take: bool = True,
    ) -> int:
        """Say that these products need indexing, in few statements for any number. Returns how many.

        Whoever raises a product has the last word of what it is made from, unless he says `take=False`: what
        has another source then is left to who raised it, be it since he looked.
        """
        ids = sorted({document.point_id(product_id): product_id for product_id in product_ids}.items())
        self.of(document)._raise_all(document, ids, source, take)
        return len(ids)

    @_persistent
    def _raise_all(
        self, document: Document, ids: list[tuple[uuid.UUID, str]], source: str, take: bool
    ) -> None:
        with transaction.atomic(using=self.db, savepoint=False):
            for chunk in _chunks(ids, ROWS_PER_STATEMENT):
                self._raise_chunk(document, dict(chunk), source, take)

    def _raise_chunk(self, document: Document, ids: dict[uuid.UUID, str], source: str, take: bool) -> None:
        entries = [
            IndexEntry(uuid=key, document=document.name, product_id=product_id, source=source)
            for key, product_id in ids.items()
        ]
        now = timezone.now()
        rows = self._with_missing(entries)
        if not take:
            rows = rows.filter(Q(source=source) | Q(state=IndexEntry.State.REMOVED))
        rows.update(
            revision=F("revision") + 1,
            state=IndexEntry.State.PENDING,
            source=source,
            not_before=now,
            attempts=0,
            error="",
            updated_at=now,
        )

    def _with_missing(self, entries: list[IndexEntry]) -> IndexEntryQuerySet:
        """Insert those that are missing, and return the rows so that updating them cannot deadlock.

        PostgreSQL would update in any order, so an upsert locks the rows in that of their uuids.
        MariaDB locks what an insert runs into, and may scan the table for several uuids, but not for
        keys. SQLite locks everything anyway, and takes few parameters.
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
        """Return the entries that a worker may claim now.

        What was raised and not tried yet is due by any clock: that of the machine that saved may be ahead.
        A time that is further off than anybody waits was written by a clock that has been set back.
        """
        now = now or timezone.now()
        beyond = now + LONGEST_WAIT
        free = Q(claim=None) | Q(claimed_until__lte=now) | Q(claimed_until__gt=beyond)
        over = Q(attempts=0) | Q(not_before__lte=now) | Q(not_before__gt=beyond)
        return self.filter(free, over, state=IndexEntry.State.PENDING)

    @_persistent
    def claim(
        self, limit: int, lease: timedelta, only: Sequence[uuid.UUID] | None = None
    ) -> list[IndexEntry]:
        """Claim due entries, the longest waiting first, and return them; nobody else gets them meanwhile."""
        now, token = timezone.now(), uuid.uuid4()
        due = self.due(now)
        candidates = (due if only is None else due.filter(uuid__in=only)).order_by("not_before", "id")
        with transaction.atomic(using=self.db):
            if connections[self.db].features.has_select_for_update_skip_locked:
                candidates = candidates.select_for_update(skip_locked=True)
            picked = list(candidates.values_list("pk", flat=True)[:limit])
            if not picked:
                return []
            due.filter(pk__in=picked).update(
                claim=token, claimed_until=now + lease, claimed_revision=F("revision")
            )
        return list(self.filter(claim=token).order_by("id"))

    def held(self, entries: Sequence[IndexEntry]) -> IndexEntryQuerySet:
        """Return those of the entries whose claim still is the one that they were read with."""
        claims = {entry.claim for entry in entries}
        return self.filter(pk__in=[entry.pk for entry in entries], claim__in=claims)

    @_persistent
    def _update_in_order(self, **values: Any) -> int:
        """Update, on PostgreSQL with the rows locked in the order in which they are raised: no deadlock."""
        with transaction.atomic(using=self.db):
            if connections[self.db].vendor == "postgresql":
                list(self.select_for_update().order_by("uuid").values_list("pk"))
            return self.update(**values)

    def finish(self, entries: Sequence[IndexEntry], state: str, generation: int, error: str = "") -> int:
        """Record what was done, where claim and revision still match. Returns for how many they did.

        What failed is not indexed at this revision, or a job that failed would read as done as soon as the
        next one waits.
        """
        now = timezone.now()
        reached = "indexed_revision" if state == IndexEntry.State.FAILED else "revision"
        done = self.held(entries).filter(revision=F("claimed_revision"))
        return done._update_in_order(
            state=state,
            indexed_revision=F(reached),
            generation=generation,
            error=_sayable(error),
            indexed_at=now,
            updated_at=now,
            attempts=0,
            claim=None,
            claimed_until=None,
        )

    def renew(self, entries: Sequence[IndexEntry], lease: timedelta) -> None:
        """Hold on to claims that are still ours."""
        self.held(entries)._update_in_order(claimed_until=timezone.now() + lease)

    def release(
        self, entries: Sequence[IndexEntry], delay: float = 0.0, error: str = "", *, written: bool = False
    ) -> None:
        """Give claims back: the entries stay due, after `delay` seconds. Some are `written` all the same."""
        done = {"indexed_at": timezone.now()} if written else {}
        self.held(entries)._update_in_order(
            **done,
            claim=None,
            claimed_until=None,
            not_before=timezone.now() + timedelta(seconds=delay),
            attempts=F("attempts") + (1 if delay else 0),
            error=_sayable(error),
        )

    def overtake(self, entry: IndexEntry, revision: int) -> None:
        """Raise an entry above the revision that its point already has, as after a restored database."""
        self.held([entry]).filter(revision=F("claimed_revision"))._update_in_order(
            revision=revision + 1, claim=None, claimed_until=None
        )

    def disclaim(self) -> None:
        """Take every claim away: whoever has one finishes nothing, and the entries are due."""
        self.exclude(claim=None)._update_in_order(claim=None, claimed_until=None)

    def forget_index(self) -> int:
        """Have everything indexed anew: the index that the entries speak of is gone or being replaced."""
        return self.exclude(state=IndexEntry.State.PENDING).update(
            state=IndexEntry.State.PENDING, not_before=timezone.now(), attempts=0
        )


class IndexEntry(models.Model):
    """What is known of one product's place in the index: the outbox and the state in one row."""

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
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
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
    def is_being_indexed(self) -> bool:
        """Whether a worker holds it now."""
        return (
            self.claim is not None and self.claimed_until is not None and self.claimed_until > timezone.now()
        )


class RelatedChange(models.Model):
    """A change elsewhere that touches many products; a worker finds out which.

    Either `path` leads from the object `object_id` of `model` to the products, or `product_ids` lists
    them because they could not be found any more. `cursor` is how far the worker has come.
    """

    document = models.CharField(max_length=100, db_index=True)
    model = models.CharField(max_length=200, blank=True)
    object_id = models.CharField(max_length=255, blank=True)
    path = models.CharField(max_length=255, blank=True)
    product_ids = models.JSONField(null=True, blank=True)
    cursor = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("related change")
        verbose_name_plural = _("related changes")

    def __str__(self) -> str:
        return f"{self.document}: {self.model} {self.object_id}"


class CollectionQuerySet(models.QuerySet["Collection"]):
    def of(self, document: Document) -> CollectionQuerySet:
        """Return the document's collections, on its database."""
        return self.using(document.using).filter(document=document.name)

    def live(self, document: Document) -> Collection | None:
        """Return the document's collection to search; one filter and no order, as each search asks for it."""
        state = Collection.State.LIVE
        return next(iter(self.using(document.using).filter(document=document.name, state=state)), None)

    def active(self) -> list[Collection]:
        """Return the collections to write to, the live one first."""
        states = [Collection.State.LIVE, Collection.State.BUILDING]
        found = list(self.filter(state__in=states))
        return sorted(found, key=lambda collection: states.index(Collection.State(collection.state)))


class Collection(models.Model):
    """A collection in the store: which document's, which model built it, whether it is searched."""

    class State(models.TextChoices):
        BUILDING = "building", _("being built")
        LIVE = "live", _("live")
        RETIRED = "retired", _("retired")

    document = models.CharField(max_length=100)
    name = models.CharField(max_length=200, unique=True)
    generation = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State)
    fingerprint = models.CharField(max_length=64)
    dimension = models.PositiveIntegerField()
    multiple_images = models.BooleanField(
        null=True, help_text=_("whether a point has a vector for each of several images")
    )
    holder = models.UUIDField(null=True, blank=True)
    lease = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("collection")
        verbose_name_plural = _("collections")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["document", "state"], name="clip_search_one_per_state"),
        ]

    def __str__(self) -> str:
        return self.name


def image_path(posted: PostedProduct | None = None, filename: str = "") -> str:
    """Return a generated name: what a client calls its file is nobody's path."""
    return f"clip_search/{uuid.uuid4().hex}"


def image_storage() -> Storage:
    """Return where posted images lie."""
    field = PostedProduct._meta.get_field("image")
    return field.storage


def store_image(image: UploadedFile[Any]) -> str:
    """Write an upload to the storage and return its name there. Raises StorageUnavailable.

    Before any transaction: a storage may be slow, and a database cannot take a file back.
    """
    name = image_path()
    try:
        return image_storage().save(name, image)
    except Exception as error:  # a remote storage raises whatever its library raises
        discard_image(name)  # a full disk leaves the half that it took
        raise StorageUnavailable(f"Cannot store an image: {error}") from error


def discard_image(name: str) -> None:
    """Delete a file that nothing names any more; where the storage cannot, it is logged, and stays."""
    try:
        image_storage().delete(name)
    except Exception as error:
        logger.warning("Cannot delete image=%s error=%s", name, in_one_line(error))


class PostedProductQuerySet(models.QuerySet["PostedProduct"]):
    def of(self, document: Document) -> PostedProductQuerySet:
        """Return what was posted for the document, on its database."""
        return self.using(document.using).filter(document=document.name)

    def keep(
        self, document: Document, product_id: str, fields: Mapping[str, Any], image: str = ""
    ) -> PostedProduct:
        """Record what was posted for a product; `image` names a file that `store_image` wrote.

        Without an image, one that was posted before stays. The replaced file goes when this commits.
        """
        with transaction.atomic(using=document.using):
            posted = self._locked(document, product_id)
            for name, value in {**fields, "updated_at": timezone.now()}.items():
                setattr(posted, name, value)
            if image:
                posted.delete_image_on_commit(posted.image.name, using=document.using)
                posted.image = image
            posted.save(using=document.using)
        return posted

    def _locked(self, document: Document, product_id: str) -> PostedProduct:
        """Return the product's row, made where it was missing; two first posts of it take turns on it."""
        key = document.point_id(product_id)
        row = PostedProduct(uuid=key, document=document.name, product_id=product_id, name="")
        features = connections[document.using].features
        # not `ignore_conflicts`: MariaDB would share the lock of a row that is there, and then deadlock
        named = features.supports_update_conflicts_with_target
        target: dict[str, Any] = {"unique_fields": ["uuid"]} if named else {}
        rows = self.of(document)
        rows.bulk_create([row], update_conflicts=True, update_fields=["product_id"], **target)
        return rows.select_for_update().get(uuid=key)

    def discard(self, document: Document, product_id: str) -> bool:
        """Forget what was posted for a product, its image too. Returns whether there was anything."""
        with transaction.atomic(using=document.using):
            rows = self.of(document).select_for_update()
            posted = rows.filter(uuid=document.point_id(product_id)).first()
            if posted is None:
                return False
            posted.delete_image_on_commit(posted.image.name, using=document.using)
            posted.delete(using=document.using)
        return True


class PostedProduct(models.Model):
    """What an index endpoint was given for a product."""

    uuid = models.UUIDField(unique=True, editable=False)
    document = models.CharField(max_length=100)
    product_id = models.CharField(max_length=255)
    name = models.TextField()
    description = models.TextField(blank=True)
    metadata = models.JSONField(null=True, blank=True)
    image = models.FileField(upload_to=image_path, max_length=255, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = PostedProductQuerySet.as_manager()

    class Meta:
        verbose_name = _("posted product")
        verbose_name_plural = _("posted products")

    def __str__(self) -> str:
        return f"{self.document} {self.product_id}"

    def delete_image_on_commit(self, name: str | None, *, using: str) -> None:
        """Delete an image's file once nothing names it any more."""
        if name:
            transaction.on_commit(lambda: discard_image(name), using=using, robust=True)

    def content(self, document: Document) -> Content:
        """Read what was posted as content. Raises ProductError where metadata does not fit a filter."""
        images: list[FieldFile] = [self.image] if self.image else []
        return Content(
            product_id=self.product_id,
            text=". ".join(filter(None, (clean(self.name), clean(self.description)))),
            images=tuple(document.image_source(image) for image in images),
            payload={
                **promoted(document, self.metadata),
                "name": self.name,
                "description": self.description,
                "metadata": self.metadata,
            },
            exact=tuple(dict.fromkeys(filter(None, (normalise(self.name), normalise(self.product_id))))),
        )


def promoted(document: Document, metadata: Any) -> dict[str, Any]:
    """Return those of the metadata that the document declares as filters, coerced. Raises ProductError."""
    values = {}
    for key, field in document.filter_fields.items():
        given = metadata.get(key) if isinstance(metadata, dict) else None
        if given is None:
            continue
        try:
            values[key] = [field.coerce(v) for v in given] if isinstance(given, list) else field.coerce(given)
        except (ValueError, TypeError) as error:
            raise ProductError(f"metadata: {key!r} should be a {field.kind}: {error}") from error
    return values


def _sayable(error: str) -> str:
    """Return what every database can keep of an error, whatever a host's exception says."""
    return error.encode("utf-8", "replace").decode().replace("\0", "")[: IndexEntry.MAX_ERROR]


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
