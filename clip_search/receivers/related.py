"""The receiver for models in `related`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import signals

from .. import outbox
from ..documents import paths
from ..documents.binding import BoundDocument
from ..models.paging import chunks
from .base import Receiver, family, may_exist


class RelatedReceiver(Receiver):
    """Schedules products when rows of a model in `related` are saved or deleted.

    On a save, the leading foreign keys of the path are followed at once, with one query. The other steps may
    lead to many products, so a worker follows them later. On a delete, the whole path is followed at once.
    """

    def __init__(self, document: BoundDocument, model: type[models.Model], path: str) -> None:
        super().__init__(document)
        self.model = model
        self.forward, self.rest = paths.split_forward(model, path)
        self.lookup = paths.lookup(model, path)
        end = paths.follow(model, self.lookup.split("__"))
        if not paths.kin(end, document.model):
            raise FieldDoesNotExist(
                f"{path!r} of {model.__name__} does not lead to {document.model.__name__}"
            )
        self.forward_lookup = paths.lookup(model, ".".join(self.forward)) if self.forward else ""

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        for model in family(self.model):
            yield signals.post_save, self.saved, model
            yield signals.pre_delete, self.deleting, model
            if self.forward:
                yield signals.pre_save, self.saving, model

    def saving(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Note where the stored row leads to. If this changes, the products on both sides are scheduled."""
        if self.listens(using, raw) and may_exist(instance):
            self.remembered(instance)[id(self)] = self._keys_in_database(instance, using)

    def saved(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Schedule the products, or a RelatedChange if a worker must find them."""
        before = self.remembered(instance).pop(id(self), [])
        if not self.listens(using, raw):
            return
        reached = list(dict.fromkeys([*before, *self._keys_after_save(instance, using)]))
        if not self.rest:
            outbox.schedule(self.document, self._product_ids(reached, using))
            return
        for key in reached:
            outbox.schedule_related(self.document, **self._change(key))

    def deleting(self, instance: Any, using: str, origin: Any = None, **kwargs: Any) -> None:
        """Schedule the products now, because they cannot be found after the row is deleted."""
        if self.listens(using):
            rows = self.rows_to_delete(self.model, instance, using, origin)
            keys = rows.values_list(f"{self.lookup}__pk", flat=True)
            outbox.schedule(self.document, self._product_ids([key for key in keys if key is not None], using))

    def _keys_in_database(self, instance: Any, using: str) -> list[Any]:
        """Return the primary keys to which the leading foreign keys of the stored row lead."""
        if not self.forward:
            return [instance.pk]
        rows = self.model._base_manager.using(using).filter(pk=instance.pk)
        keys = rows.values_list(f"{self.forward_lookup}__pk", flat=True)
        return [key for key in keys if key is not None]

    def _keys_after_save(self, instance: Any, using: str) -> list[Any]:
        """Return the same keys for an instance that was just saved. A single foreign key needs no query."""
        field: Any = paths.relation(self.model, self.forward[0]) if len(self.forward) == 1 else None
        if field is None or not field.target_field.primary_key:
            return self._keys_in_database(instance, using)
        key = getattr(instance, field.attname)
        return [] if key is None else [key]

    def _change(self, key: Any) -> dict[str, Any]:
        start = paths.follow(self.model, self.forward)
        path = paths.lookup(start, ".".join(self.rest))
        return {"model": start._meta.label_lower, "object_id": str(key), "path": path}

    def _product_ids(self, keys: Sequence[Any], using: str) -> list[str]:
        if self.document.ids_are_keys:
            return list(dict.fromkeys(map(self.document.as_id, keys)))
        products = self.document.model._base_manager.using(using)
        ids = (self.document.product_ids(products.filter(pk__in=some)) for some in chunks(keys))
        return list(dict.fromkeys(chain.from_iterable(ids)))
