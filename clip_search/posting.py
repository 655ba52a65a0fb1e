"""Products that other systems post: save them, index them, delete them, and report the state of their jobs.

The index endpoints use these functions, and so can Python code: `post_product("P-1", name="Red mug")`.
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
from .exceptions import BackendUnavailable, Postponed, ProductError, SetupError, in_one_line
from .indexing.inline import index_here, index_now
from .models import IndexEntry, PostedProduct
from .models.posted import delete_image, store_image
from .models.retries import retry_on_deadlock
from .types import POSTED_SOURCE

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

logger = logging.getLogger(__name__)

JOB_ID: Final = re.compile(
    r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?P<revision>[0-9]{1,19})", re.ASCII
)


class NoDocument(SetupError):
    """The endpoints do not know which document they feed. Set CLIP_SEARCH["API_DOCUMENT"]."""


def api_document() -> BoundDocument:
    """Return the document that posted products belong to and the endpoints search. Raises NoDocument."""
    names = sorted(document.name for document in registry)
    name = conf.api_document or (names[0] if len(names) == 1 else "")
    document = registry.get(name)
    if document is None:
        known = ", ".join(names) or "none is registered"
        raise NoDocument(f'CLIP_SEARCH["API_DOCUMENT"] must name a document, {name!r} does not: {known}.')
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

    Without an image, an image that was posted before stays. With `wake=False` no worker is woken: the caller
    does that, or indexes the product. Raises ProductError for an id that the endpoints refuse, NoDocument,
    StorageUnavailable, and the database's errors; no file of a post that failed is left.
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
    """Index a posted product now and return its entry, which says how that went. Raises Postponed."""
    try:
        entry = index_now(document, product_id)
    except (NotImplementedError, RecursionError):
        raise
    except (BackendUnavailable, SetupError, DatabaseError, RuntimeError) as error:  # torch raises the last
        logger.warning(
            "Cannot index now document=%s product_id=%r error=%s",
            document.name,
            product_id,
            in_one_line(error),
        )
        reason = "The model failed." if isinstance(error, RuntimeError) else type(error).__doc__ or ""
        raise Postponed(_saved(product_id, reason)) from error
    if entry.state == IndexEntry.State.PENDING:
        raise Postponed(_saved(product_id, "A worker is busy with it."))
    return entry


def announce(document: BoundDocument, entry: IndexEntry) -> tuple[IndexEntry, str]:
    """Wake a worker for a posted product. Return its entry and a sentence that says what came of it.

    With `QUEUE = None` the product is indexed here, and the sentence says so.
    """
    product_id = entry.product_id
    if conf.queue is None:
        index_here(document, [product_id])
        entry.refresh_from_db(using=document.using)
        if entry.state == IndexEntry.State.PENDING:
            return entry, _saved(product_id)
        return entry, f'Product {product_id} was handled at once: CLIP_SEARCH["QUEUE"] is None'
    if queue.wake(document):
        return entry, f"Product {product_id} queued for indexing"
    return entry, f"Product {product_id} is saved; the queue is down, an idle worker will find it"


def _saved(product_id: str, reason: str = "") -> str:
    return f"Product {product_id} is saved and will be indexed, but not now. {reason}".strip()


def delete_product(product_id: str, *, document: BoundDocument | None = None) -> bool:
    """Delete a posted product. The shop's own row, if there is one, is then indexed instead.

    Return whether there was a posted product.
    """
    document = document or api_document()

    def delete() -> bool:
        with transaction.atomic(using=document.using):
            if not PostedProduct.objects.delete_product(document, product_id):
                return False
            outbox.schedule(document, [product_id])
            return True

    return retry_on_deadlock(document.using, delete)


def job_id(entry: IndexEntry) -> str:
    """Return the public name of the entry's latest revision."""
    return f"{entry.uuid}.{entry.revision}"


def find_job(document: BoundDocument, name: str) -> tuple[IndexEntry, int] | None:
    """Return the entry and the revision that a job id stands for, or None if there never was such a job."""
    parts = JOB_ID.fullmatch(name)
    if not parts:
        return None
    entry, revision = (
        IndexEntry.objects.of(document).filter(uuid=parts["uuid"]).first(),
        int(parts["revision"]),
    )
    return (entry, revision) if entry and 0 < revision <= entry.revision else None


def job_status(entry: IndexEntry, revision: int) -> str:
    """Return "queued", "indexing", "indexed", "failed", or "removed" if it was deleted after posting."""
    if entry.indexed_revision >= revision:
        return "removed" if entry.state == IndexEntry.State.REMOVED else "indexed"
    if entry.state == IndexEntry.State.FAILED:
        return "failed"
    if entry.is_being_indexed and entry.claimed_revision >= revision:
        return "indexing"
    return "queued"
