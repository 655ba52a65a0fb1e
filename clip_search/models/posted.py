"""Products that API clients posted, and their image files."""

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
from ..documents.fields import LABELS, labelled
from ..documents.text import clean, normalise
from ..exceptions import ProductError, StorageUnavailable, in_one_line
from ..types import Content

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile

logger = logging.getLogger(__name__)


def image_path(posted: PostedProduct | None = None, filename: str = "") -> str:
    """Return a random path for a posted image. The file name that the client sent is never used."""
    return f"clip_search/{uuid.uuid4().hex}"


def image_storage() -> Storage:
    """Return the Django storage that holds posted images."""
    field = PostedProduct._meta.get_field("image")
    return field.storage


def store_image(image: UploadedFile[Any]) -> str:
    """Save an uploaded image and return its name in the storage. Raises StorageUnavailable if that fails.

    Call this before the transaction starts: the storage may be slow, and a rollback deletes no files.
    """
    name = image_path()
    try:
        return image_storage().save(name, image)
    except Exception as error:  # a remote storage backend raises the errors of its own library, such as boto3
        delete_image(name)  # if the disk is full, the file may be there in part
        raise StorageUnavailable(f"The image cannot be saved in the storage: {error}") from error


def delete_image(name: str) -> None:
    """Delete an image file that no row uses any more. If the storage fails, log a warning only."""
    try:
        image_storage().delete(name)
    except Exception as error:
        logger.warning("Cannot delete image=%s error=%s", name, in_one_line(error))


class PostedProductQuerySet(models.QuerySet["PostedProduct"]):
    """Saves and deletes posted products."""

    def of(self, document: BoundDocument) -> PostedProductQuerySet:
        """Return the posted products of this document, from the document's database."""
        return self.using(document.using).filter(document=document.name)

    def save_product(
        self, document: BoundDocument, product_id: str, fields: Mapping[str, Any], image: str = ""
    ) -> PostedProduct:
        """Create or update a posted product and return it. `image` is a name that `store_image()` returned.

        Without `image`, the product keeps its previous image. A replaced file is deleted on commit.
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
        """Return the product's row, locked until the transaction ends. If there is none, create it."""
        key = document.point_id(product_id)
        row = PostedProduct(uuid=key, document=document.name, product_id=product_id, name="")
        features = connections[document.using].features
        # Not `ignore_conflicts`: on MariaDB, two transactions would both get a shared lock of the row, and
        # then deadlock.
        named = features.supports_update_conflicts_with_target
        target: dict[str, Any] = {"unique_fields": ["uuid"]} if named else {}
        rows = self.of(document)
        rows.bulk_create([row], update_conflicts=True, update_fields=["product_id"], **target)
        return rows.select_for_update().get(uuid=key)

    def delete_product(self, document: BoundDocument, product_id: str) -> bool:
        """Delete a posted product and its image. Return False if there is no such product."""
        with transaction.atomic(using=document.using):
            rows = self.of(document).select_for_update()
            posted = rows.filter(uuid=document.point_id(product_id)).first()
            if posted is None:
                return False
            posted.delete_image_on_commit(posted.image.name, using=document.using)
            posted.delete(using=document.using)
        return True


class PostedProduct(models.Model):
    """A product that a client posted to the endpoints, with the values that it sent."""

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
        """Delete this image file when the transaction commits. Without a name, do nothing."""
        if name:
            transaction.on_commit(lambda: delete_image(name), using=using, robust=True)

    def content(self, document: BoundDocument) -> Content:
        """Return the content to index. Raises ProductError if a metadata value does not fit its filter."""
        images: list[FieldFile] = [self.image] if self.image else []
        values = filter_values(document, self.metadata)
        labels = labelled(document.declaration.filter_fields, values)
        weights = document.declaration.search_fields
        texts = (("name", clean(self.name)), ("description", clean(self.description)))
        return Content(
            product_id=self.product_id,
            text=". ".join(text for _, text in texts if text),
            searched=tuple((text, float(weights.get(name, 1))) for name, text in texts if text),
            images=tuple(document.image_source(image) for image in images),
            payload={
                **values,
                **({LABELS: labels} if labels else {}),
                "name": self.name,
                "description": self.description,
                "metadata": self.metadata,
            },
            exact=tuple(dict.fromkeys(filter(None, (normalise(self.name), normalise(self.product_id))))),
            codes=(self.product_id,),
        )


def filter_values(document: BoundDocument, metadata: Any) -> dict[str, Any]:
    """Return the metadata values that are filters of the document, converted to the filter's type.

    Raises ProductError if a value cannot be converted.
    """
    values = {}
    for key, field in document.declaration.filter_fields.items():
        given = metadata.get(key) if isinstance(metadata, dict) else None
        if given is None:
            continue
        try:
            many = isinstance(given, list)
            values[key] = field.stored(given if many else [given], many=many)
        except (ValueError, TypeError) as error:
            raise ProductError(f"metadata: {key!r} should be a {field.kind}: {error}") from error
    return values
