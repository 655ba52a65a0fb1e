"""Saves and deletes of products."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import signals

from .. import outbox
from .base import Receiver, family, may_exist


class ProductReceiver(Receiver):
    """Saves and deletes of the document's own model."""

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
        """Remember which point stands for the row so far: a variant may move, an id may change."""
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
        """Schedule a product whose parent row (multi-table inheritance) was saved as the parent's class."""
        if self.listens(using, raw, update_fields):
            outbox.schedule(self.document, self._stored(instance, using))

    def deleting(self, instance: Any, using: str, **kwargs: Any) -> None:
        if self.listens(using) and self.document.ids_are_keys:
            outbox.schedule(self.document, self.document.product_ids([instance]))
        elif self.listens(using):
            outbox.schedule(self.document, self._stored(instance, using))

    def _stored(self, instance: Any, using: str) -> list[str]:
        """Return the ids of the points that stand for the row as it is in the database."""
        return self.document.product_ids(
            self.document.model._base_manager.using(using).filter(pk=instance.pk)
        )
