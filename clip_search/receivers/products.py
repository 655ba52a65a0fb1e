"""The receiver for products that are saved or deleted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import signals

from .. import outbox
from .base import Receiver, family, may_exist


class ProductReceiver(Receiver):
    """Schedules products when rows of the document's own model are saved or deleted."""

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        for model in family(self.document.model):
            yield signals.post_save, self.saved, model
            yield signals.pre_delete, self.deleting, model
            if not self.document.ids_are_keys:
                yield signals.pre_save, self.saving, model
        concrete = self.document.model._meta.concrete_model or self.document.model
        for parent in concrete._meta.get_parent_list():
            yield signals.post_save, self.parent_saved, parent

    def saving(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Note the product id that the stored row has.

        A variant may move to another product, or the id may change. Then both products must be indexed.
        """
        if self.listens(using, raw) and may_exist(instance):
            self.remembered(instance)[id(self)] = self._stored(instance, using)

    def saved(
        self,
        instance: Any,
        using: str,
        raw: bool = False,
        update_fields: frozenset[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Schedule the product, and the product to which the row belonged before."""
        before = self.remembered(instance).pop(id(self), [])
        if self.listens(using, raw, update_fields):
            outbox.schedule(self.document, [*before, *self.document.product_ids([instance])])

    def parent_saved(
        self,
        instance: Any,
        using: str,
        raw: bool = False,
        update_fields: frozenset[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Schedule a product whose parent row was saved on its own (multi-table inheritance)."""
        if self.listens(using, raw, update_fields):
            outbox.schedule(self.document, self._stored(instance, using))

    def deleting(self, instance: Any, using: str, **kwargs: Any) -> None:
        """Schedule the product of a row that is about to be deleted."""
        if self.listens(using) and self.document.ids_are_keys:
            outbox.schedule(self.document, self.document.product_ids([instance]))
        elif self.listens(using):
            outbox.schedule(self.document, self._stored(instance, using))

    def _stored(self, instance: Any, using: str) -> list[str]:
        """Return the product ids of the row as it is in the database."""
        return self.document.product_ids(
            self.document.model._base_manager.using(using).filter(pk=instance.pk)
        )
