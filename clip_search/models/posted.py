"""Products that clients posted."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.core.files.storage import Storage
from django.core.files.uploadedfile import UploadedFile
from django.db import connections, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..documents.binding import BoundDocument
from ..documents.text import clean, normalise
from ..exceptions import ProductError, StorageUnavailable, in_one_line
from ..types import Content

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile

logger = logging.getLogger(__name__)


def image_path(posted: PostedProduct | None = None, filename: str = "") -> str:
    """Return a generated name for a posted image. The name that the client gave is never used as a path."""
    return f"clip_search/{uuid.uuid4().hex}"


def image_storage() -> Storage:
    """Return the storage of posted images."""
    field = PostedProduct._meta.get_field("image")
    return field.storage


def store_image(image: UploadedFile[Any]) -> str:
    """Write an upload to the storage and return its name there. Raises StorageUnavailable.

    Call it before any transaction: a storage may be slow, and a database cannot roll a file back.
    """
    name = image_path()
    try:
        return image_storage().save(name, image)
    except Exception as error:  # a remote storage raises its own library's errors
        delete_image(name)  # a full disk keeps the half that was written
        raise StorageUnavailable(f"Cannot store an image: {error}") from error


def delete_image(name: str) -> None:
    """Delete a file that no row names any more. If the storage fails, it is logged and the file stays."""
    try:
        image_storage().delete(name)
    except Exception as error:
        logger.warning("Cannot delete image=%s error=%s", name, in_one_line(error))


class PostedProductQuerySet(models.QuerySet["PostedProduct"]):
    """Saving and deleting posted products."""

    def of(self, document: BoundDocument) -> PostedProductQuerySet:
        """Return the document's posted products, on its database."""
        return self.using(document.using).filter(document=document.name)

    def save_product(
        self, document: BoundDocument, product_id: str, fields: Mapping[str, Any], image: str = ""
    ) -> PostedProduct:
        """Save a posted product. `image` is the name of a file that `store_image()` wrote.

        Without an image, an image that was posted before stays. A replaced file is deleted on commit.
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

    def _locked(self, document: BoundDocument, product_id: str) -> PostedProduct:
        """Return the product's row, locked and created if it is missing."""
        key = document.point_id(product_id)
        row = PostedProduct(uuid=key, document=document.name, product_id=product_id, name="")
        features = connections[document.using].features
        # not `ignore_conflicts`: MariaDB would share the lock of an existing row, and then deadlock
        named = features.supports_update_conflicts_with_target
        target: dict[str, Any] = {"unique_fields": ["uuid"]} if named else {}
        rows = self.of(document)
        rows.bulk_create([row], update_conflicts=True, update_fields=["product_id"], **target)
        return rows.select_for_update().get(uuid=key)

    def delete_product(self, document: BoundDocument, product_id: str) -> bool:
        """Delete a posted product with its image. Return whether there was one."""
        with transaction.atomic(using=document.using):
            rows = self.of(document).select_for_update()
            posted = rows.filter(uuid=document.point_id(product_id)).first()
            if posted is None:
                return False
            posted.delete_image_on_commit(posted.image.name, using=document.using)
            posted.delete(using=document.using)
        return True


class PostedProduct(models.Model):
    """A product as a client posted it."""

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
        """Delete an image's file when the transaction commits."""
        if name:
            transaction.on_commit(lambda: delete_image(name), using=using, robust=True)

    def content(self, document: BoundDocument) -> Content:
        """Return this product's content. Raises ProductError if metadata does not fit a filter."""
        images: list[FieldFile] = [self.image] if self.image else []
        return Content(
            product_id=self.product_id,
            text=". ".join(filter(None, (clean(self.name), clean(self.description)))),
            images=tuple(document.image_source(image) for image in images),
            payload={
                **filter_values(document, self.metadata),
                "name": self.name,
                "description": self.description,
                "metadata": self.metadata,
            },
            exact=tuple(dict.fromkeys(filter(None, (normalise(self.name), normalise(self.product_id))))),
        )


def filter_values(document: BoundDocument, metadata: Any) -> dict[str, Any]:
    """Return the values of metadata that the document declares as filters, coerced. Raises ProductError."""
    values = {}
    for key, field in document.declaration.filter_fields.items():
        given = metadata.get(key) if isinstance(metadata, dict) else None
        if given is None:
            continue
        try:
            values[key] = [field.coerce(v) for v in given] if isinstance(given, list) else field.coerce(given)
        except (ValueError, TypeError) as error:
            raise ProductError(f"metadata: {key!r} should be a {field.kind}: {error}") from error
    return values
