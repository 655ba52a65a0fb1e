"""Save, index and delete posted products, and report whether they are indexed yet.

The HTTP endpoints call these functions. Python code can call them too: `post_product("P-1", name="Red mug")`.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from django.db import Error as DatabaseError
from django.db import transaction

from . import outbox, queue
from .conf import conf
from .documents import ids
from .documents.binding import BoundDocument
from .documents.registry import registry
from .exceptions import (
    BackendUnavailable,
    CollectionMissing,
    Postponed,
    ProductError,
    SetupError,
    in_one_line,
)
from .indexing.inline import index_here, index_now
from .models import Collection, IndexEntry, PostedProduct
from .models.posted import delete_image, store_image
from .models.retries import retry_on_deadlock
from .stores import get_store
from .types import POSTED_SOURCE

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

logger = logging.getLogger(__name__)

JOB_ID: Final = re.compile(
    r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?P<revision>[0-9]{1,19})", re.ASCII
)
"""The form of a job id: the uuid of an entry, a dot and a revision."""


class NoDocument(SetupError):
    """It is not known to which document posted products belong. Set CLIP_SEARCH["API_DOCUMENT"]."""


def api_document() -> BoundDocument:
    """Return the document to which posted products belong, and which the endpoints search.

    This is the document that CLIP_SEARCH["API_DOCUMENT"] names or, if only one is registered, that one.
    Raises NoDocument otherwise.
    """
    names = sorted(document.name for document in registry)
    name = conf.api_document or (names[0] if len(names) == 1 else "")
    document = registry.get(name)
    if document is None:
        known = ", ".join(names) or "none is registered"
        raise NoDocument(
            f'CLIP_SEARCH["API_DOCUMENT"] is {name!r}. Set it to the name of a registered document: {known}.'
        )
    return document


def post_product(
    product_id: str,
    *,
    name: str,
    description: str = "",
    metadata: Any = None,
    image: UploadedFile[Any] | None = None,
    document: BoundDocument | None = None,
    wake: bool = True,
) -> IndexEntry:
    """Save a posted product and schedule it for indexing, in one transaction. Return its entry.

    If no image is given, an image that was posted before stays. A worker is woken when the transaction
    commits, unless `wake` is False. Raises ProductError if the product id is not allowed, NoDocument,
    StorageUnavailable or DatabaseError; the image file is then deleted again.
    """
    if reason := ids.mistake(product_id):
        raise ProductError(f"product_id: {reason}")
    document = document or api_document()
    fields = {"name": name, "description": description, "metadata": metadata}
    image_name = store_image(image) if image else ""

    def save() -> IndexEntry:
        with transaction.atomic(using=document.using):
            PostedProduct.objects.save_product(document, product_id, fields, image_name)
            outbox.schedule(document, [product_id], source=POSTED_SOURCE, wake=wake)
            return IndexEntry.objects.of(document).get(uuid=document.point_id(product_id))

    try:
        return retry_on_deadlock(document.using, save)
    except BaseException:
        if image_name:
            delete_image(image_name)
        raise


def index_posted(document: BoundDocument, product_id: str) -> IndexEntry:
    """Index a posted product in this process, and return its entry with the result.

    Raises Postponed if the product cannot be indexed now, but will be indexed later. The `__cause__` of this
    error is the error that occurred.
    """
    try:
        entry = index_now(document, product_id)
    except (NotImplementedError, RecursionError):  # RuntimeErrors, but bugs in code
        raise
    except (BackendUnavailable, SetupError, DatabaseError, RuntimeError) as error:
        # RuntimeError is the class of most errors of torch.
        logger.warning(
            "Cannot index now document=%s product_id=%r error=%s",
            document.name,
            product_id,
            in_one_line(error),
        )
        raise Postponed(_saved(product_id)) from error
    if entry.state == IndexEntry.State.PENDING:
        raise Postponed(_saved(product_id, "A worker is already indexing it."))
    return entry


def announce(document: BoundDocument, entry: IndexEntry) -> tuple[IndexEntry, str]:
    """Wake a worker for a posted product. Return its entry, and a message for the client.

    If the setting `QUEUE` is None, the product is indexed in this process instead.
    """
    product_id = entry.product_id
    if conf.queue is None:
        index_here(document, [product_id])
        entry.refresh_from_db(using=document.using)
        if entry.state == IndexEntry.State.PENDING:
            return entry, _saved(product_id)
        return entry, f'Product {product_id} was processed at once, because CLIP_SEARCH["QUEUE"] is None'
    if queue.wake(document):
        return entry, f"Product {product_id} queued for indexing"
    return entry, f"Product {product_id} is saved. The queue is down, so a worker will index it a bit later"


def _saved(product_id: str, reason: str = "") -> str:
    """Return the message for a product that is saved, but could not be indexed at once."""
    return f"Product {product_id} is saved and will be indexed, but not now. {reason}".strip()


def delete_product(product_id: str, *, document: BoundDocument | None = None) -> bool:
    """Delete a posted product, and schedule its removal from the index. Return False if there was none.

    If the shop has a row with this product id, the row is indexed instead. A product that only the index has
    is removed too: a restored snapshot of the store may have brought it back. Raises BackendUnavailable or
    SetupError if the store must be asked for that, and does not answer.
    """
    document = document or api_document()

    def delete() -> bool:
        with transaction.atomic(using=document.using):
            if not PostedProduct.objects.delete_product(document, product_id):
                return False
            outbox.schedule(document, [product_id])
            return True

    if retry_on_deadlock(document.using, delete):
        return True
    if not is_orphan(document, product_id):
        return False
    outbox.schedule(document, [product_id])
    return True


def is_orphan(document: BoundDocument, product_id: str) -> bool:
    """Return True if the live collection has a point of this product, but the database does not know it."""
    key = document.point_id(product_id)
    entries = IndexEntry.objects.of(document).filter(uuid=key)
    live = Collection.objects.live(document)
    if live is None or not live.is_ours or entries.exclude(state=IndexEntry.State.REMOVED).exists():
        return False
    try:
        point = get_store().get(live.name, [key]).get(key)
    except CollectionMissing:
        return False
    return point is not None and not point.stamp.removed


def job_id(entry: IndexEntry) -> str:
    """Return the job id for the entry's latest revision: clients use it to ask whether that is indexed.

    A job is one requested indexing of a product, not an RQ job.
    """
    return f"{entry.uuid}.{entry.revision}"


def find_job(document: BoundDocument, name: str) -> tuple[IndexEntry, int] | None:
    """Return the entry and the revision that a job id stands for, or None if `job_id()` never returned it."""
    parts = JOB_ID.fullmatch(name)
    if not parts:
        return None
    entry, revision = (
        IndexEntry.objects.of(document).filter(uuid=parts["uuid"]).first(),
        int(parts["revision"]),
    )
    return (entry, revision) if entry and 0 < revision <= entry.revision else None


def job_status(entry: IndexEntry, revision: int) -> str:
    """Return the state of the job for this revision of the entry.

    It is "queued", "indexing", "indexed", "failed", or "removed" if the product was deleted after the post.
    """
    if entry.indexed_revision >= revision:
        return "removed" if entry.state == IndexEntry.State.REMOVED else "indexed"
    if entry.state == IndexEntry.State.FAILED:
        return "failed"
    if entry.is_being_indexed and entry.claimed_revision >= revision:
        return "indexing"
    return "queued"
