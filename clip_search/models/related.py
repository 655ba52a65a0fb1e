"""Changes that affect many products, such as that of a category: a worker handles them later."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class RelatedChange(models.Model):
    """A change that affects many products. A worker marks their entries later and deletes this row.

    Either `path` leads from the changed object, the row `object_id` of `model`, to the products; or
    `product_ids` lists the products, and `path` is "images" if their image files must be read again. `cursor`
    is the position that the worker has reached in this list of products.
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
