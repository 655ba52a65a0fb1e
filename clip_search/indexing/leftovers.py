"""Find and remove the data of documents that are no longer registered, and of processes that were killed.

`clip_cleanup` calls this.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connections, models, router, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ..conf import conf
from ..documents.registry import registry
from ..exceptions import CollectionMissing
from ..models import Collection, Database, IndexEntry, PostedProduct, RelatedChange, Run, Vocabulary, Word
from ..models.paging import ROWS_PER_STATEMENT, pages
from ..models.posted import delete_image
from ..models.tables import TablesMissing
from ..stores import SERVER, get_store, store_path
from .collections import remove_collection

logger = logging.getLogger(__name__)

YOUNG = timedelta(hours=1)
"""Data that was created or used less than this time ago is kept, because a process may still use it."""
NAME = re.compile(r"[\w.-]+-\d+-[0-9a-f]{8}")
"""The form of the names that `create_collection()` gives."""
TABLES: tuple[type[models.Model], ...] = (
    Collection,
    IndexEntry,
    PostedProduct,
    RelatedChange,
    Run,
    Word,
    Vocabulary,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Data that nothing uses any more: all rows of a document, or a collection in the store."""

    description: str
    kept: str = ""
    """The reason why the data must be kept nevertheless, or ""."""
    document: str = ""
    using: str = ""
    """The database of the document, or of the collection's row."""
    collection: str = ""

    def __str__(self) -> str:
        return f"{self.description} (stays: {self.kept})" if self.kept else self.description


def find_leftovers(*, other_databases: bool = False) -> list[Leftover]:
    """Return the leftovers in the databases and in the store.

    With `other_databases`, collections that were created for a database which is not in the settings may be
    removed too, such as those of killed test runs. Raises StoreUnavailable, SetupError, TablesMissing.
    """
    homes = _homes()
    found = [leftover for home in homes for leftover in _documents(home)]
    found += [leftover for home in homes for leftover in _unused(home)]
    named = {row.name for home in homes for using in home.aliases for row in Collection.objects.using(using)}
    return [*found, *_collections(homes, named, other_databases), *_remains(named)]


def remove(leftover: Leftover) -> None:
    """Remove the data of a leftover."""
    if leftover.document:
        _remove_document(leftover)
        return
    rows = Collection.objects.using(leftover.using).filter(name=leftover.collection) if leftover.using else ()
    if not rows:
        get_store().destroy(leftover.collection)
        logger.info("Removed collection=%s", leftover.collection)
    for row in rows:
        remove_collection(row)


# Documents that are not registered any more.


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A database with the tables of clip_search, and the documents that are registered for it."""

    using: str
    number: str
    documents: set[str] = field(default_factory=set)
    aliases: list[str] = field(default_factory=list)
    """The names in DATABASES of this database and of its copies."""


def _homes() -> list[Home]:
    """Return the databases with the tables of clip_search. A database and its replicas are returned once."""
    homes: dict[str, Home] = {}
    for using in dict.fromkeys([*(document.using for document in registry), *connections]):
        registered = {document.name for document in registry if document.using == using}
        if not router.allow_migrate_model(using, Collection):
            continue
        if Database._meta.db_table not in connections[using].introspection.table_names():
            if registered:
                raise TablesMissing("Tables of clip_search are missing. Run `manage.py migrate`.")
            continue
        row = Database.objects.using(using).first()
        if registered or row:
            number = str(row.number) if row else Database.objects.number_of(using)
            home = homes.setdefault(number, Home(using=using, number=number))
            home.documents.update(registered)
            home.aliases.append(using)
    return list(homes.values())


def _documents(home: Home) -> Iterator[Leftover]:
    """Yield the documents that have rows in this database, but are not registered for it."""
    using, names = home.using, set[str]()
    for table in TABLES:
        rows = table._default_manager.using(using).order_by()
        names |= set(rows.values_list("document", flat=True).distinct())
    for name in sorted(names - home.documents):
        counts = {
            table: table._default_manager.using(using).filter(document=name).count() for table in TABLES
        }
        said = ", ".join(
            f"{count} {table._meta.verbose_name if count == 1 else table._meta.verbose_name_plural}"
            for table, count in counts.items()
            if count
        )
        where = "" if using == "default" else f" on the database {using!r}"
        yield Leftover(
            description=f"document {name!r}{where}, which is not registered: {said}",
            kept=_in_use(name, using),
            document=name,
            using=using,
        )


def _in_use(document: str, using: str) -> str:
    """Return the reason why the rows of a document must be kept, or "".

    A process that runs an older version of the shop's code may still use the document.
    """
    now = timezone.now()
    entries = IndexEntry.objects.using(using).filter(document=document)
    rows = Collection.objects.using(using).filter(document=document)
    posted = PostedProduct.objects.using(using).filter(document=document)
    changes = RelatedChange.objects.using(using).filter(document=document)
    if entries.filter(claimed_until__gt=now).exists() or rows.filter(lease__gt=now).exists():
        return "a process is at work on it"
    times = [
        *entries.aggregate(Max("updated_at"), Max("indexed_at")).values(),
        *(queryset.aggregate(Max("created_at"))["created_at__max"] for queryset in (rows, posted, changes)),
        posted.aggregate(Max("updated_at"))["updated_at__max"],
    ]
    if any(time and time > now - YOUNG for time in times):
        return "it was used in the last hour"
    return ""


def _remove_document(leftover: Leftover) -> None:
    """Remove all collections, posted images and rows of a document."""
    using, name = leftover.using, leftover.document
    for collection in Collection.objects.using(using).filter(document=name):
        remove_collection(collection)
    for products in pages(PostedProduct.objects.using(using).filter(document=name), ROWS_PER_STATEMENT):
        images = [product.image.name for product in products if product.image.name]
        with transaction.atomic(using=using):
            PostedProduct.objects.using(using).filter(pk__in=[product.pk for product in products]).delete()
        for image in images:  # only after the commit, because the deletion of a file cannot be rolled back
            delete_image(image)
    for table in (IndexEntry, RelatedChange, Run, Word, Vocabulary):
        rows = table._default_manager.using(using).filter(document=name)
        for page in pages(rows.only("pk"), ROWS_PER_STATEMENT):
            table._default_manager.using(using).filter(pk__in=[row.pk for row in page]).delete()
    logger.info("Removed document=%s", name)


# Collections in the store that no row names, or that nothing uses.


def _unused(home: Home) -> Iterator[Leftover]:
    """Yield the collections that stay if a rebuild is killed: the replaced one, or one not yet created."""
    now = timezone.now()
    rows = Collection.objects.using(home.using).filter(document__in=home.documents)
    for row in rows.filter(state=Collection.State.RETIRED):
        busy = rows.filter(document=row.document, lease__gt=now).exists()
        yield Leftover(
            description=f"collection {row.name}, which a rebuild replaced",
            kept="a rebuild is at work" if busy else "",
            using=home.using,
            collection=row.name,
        )
    # Without a live collection, the next worker continues the creation.
    live = rows.filter(state=Collection.State.LIVE).values("document")
    for row in rows.filter(state=Collection.State.CREATING, document__in=live):
        tried = max(row.created_at, row.not_before or row.created_at)
        yield Leftover(
            description=f"collection {row.name}, whose creation was interrupted",
            kept="it was made in the last hour" if tried > now - YOUNG else "",
            using=home.using,
            collection=row.name,
        )


def _collections(homes: list[Home], named: set[str], other_databases: bool) -> Iterator[Leftover]:
    """Yield the collections in the store that this installation created, and that no row names."""
    store = get_store()
    ours = {home.number for home in homes}
    unnamed_server = not conf.installation and store_path(conf.qdrant) == SERVER
    for name in store.names():
        if name in named or not NAME.fullmatch(name):
            continue
        try:
            mark = store.mark(name)
        except CollectionMissing:  # another process has removed the collection since
            continue
        if not mark or mark.get("installation") != conf.installation:
            continue
        made = _time(mark.get("created_at", ""))
        kept = ""
        if unnamed_server:
            kept = "CLIP_SEARCH['INSTALLATION'] is not set, so it may be another installation's"
        elif mark.get("database") not in ours and not other_databases:
            kept = "it was made for another database: `--other-databases` removes it"
        elif made is None or made > timezone.now() - YOUNG:
            kept = "it was made in the last hour"
        elif store.has_foreign_points(name):
            kept = "it has points that clip_search did not write"
        said = f" of {made:%Y-%m-%d %H:%M} UTC" if made else ""
        yield Leftover(description=f"collection {name}{said}, which no row names", kept=kept, collection=name)


def _time(written: str) -> datetime | None:
    """Return an ISO 8601 time with a time zone as a datetime, or None if the string is something else."""
    found = parse_datetime(written)
    return found if found and found.tzinfo else None


def _remains(named: set[str]) -> Iterator[Leftover]:
    """Yield files of an embedded store that an interrupted creation or deletion of a collection has left."""
    for name in get_store().remains(YOUNG):
        if name not in named and NAME.fullmatch(name):
            said = f"files of the collection {name}, whose creation or deletion was interrupted"
            yield Leftover(description=said, collection=name)
