"""Receivers for changes of many-to-many relations, and for rows of their `through` models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import models
from django.db.models import signals

from .. import outbox
from ..documents import paths
from ..documents.binding import BoundDocument
from ..models.paging import chunks
from .base import Receiver, family, may_exist


class ManyToManyReceiver(Receiver):
    """Schedules products when a many-to-many relation changes, from either side.

    `model` has the relation. The lookup `start` leads to it from the document's model; it is "" if both are
    the same.
    """

    def __init__(self, document: BoundDocument, field: Any, model: type[models.Model], start: str) -> None:
        super().__init__(document)
        self.model = model
        self.start = start
        self.lookup = start + field.name
        self.reverse = bool(field.auto_created)
        # django-taggit sets `symmetrical`, although its relation leads to another model
        to_itself = field.related_model._meta.concrete_model is model._meta.concrete_model
        self.symmetrical = to_itself and bool(getattr(field.remote_field, "symmetrical", False))
        self.accessor = field.get_accessor_name() if field.auto_created else field.name
        self.through = getattr(field if field.auto_created else field.remote_field, "through", None)
        if paths.is_generic(field):
            self.through = field.related_model

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        if self.through is not None:
            yield signals.m2m_changed, self.changed, self.through

    def is_read(self) -> bool:
        """Return whether the index may depend on this relation."""
        return bool(self.start) or self.document.depends_on(self.accessor)

    def changed(
        self,
        instance: Any,
        action: str,
        reverse: bool,
        using: str,
        pk_set: set[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Schedule the products whose relation has changed.

        `pre_clear` is handled, because after the relation is cleared the related rows cannot be found.
        """
        if action not in ("post_add", "post_remove", "pre_clear") or not self.listens(using):
            return
        nothing_changed = action != "pre_clear" and not pk_set
        if nothing_changed or not self.is_read():
            return
        instance_has_relation = reverse == self.reverse
        if instance_has_relation and not paths.kin(instance.__class__, self.model):
            return  # a generic `through` model, such as taggit's, belongs to several models
        own = models.Q(**{f"{self.start}pk": instance.pk})
        others = models.Q(**{f"{self.start}pk__in": pk_set or ()})
        if action == "pre_clear":
            others = models.Q(**{self.lookup: instance.pk})
        if self.symmetrical:
            self.schedule(own | others, using)
        else:
            self.schedule(own if instance_has_relation else others, using)

    def schedule(self, which: models.Q, using: str) -> None:
        """Schedule the products that meet this condition."""
        products = self.document.model._base_manager.using(using).filter(which)
        outbox.schedule(self.document, self.document.product_ids(products))


class ThroughReceiver(Receiver):
    """Schedules products when rows of a `through` model are saved or deleted directly.

    `link` is the ForeignKey or GenericForeignKey from such a row to the model that has the relation.
    """

    def __init__(self, relation: ManyToManyReceiver, link: Any) -> None:
        super().__init__(relation.document)
        self.relation = relation
        self.link = link
        self.is_generic = hasattr(link, "ct_field")
        key = "pk" if self.is_generic else link.target_field.name
        self.lookup = f"{relation.start}{key}__in"
        names = (link.fk_field, link.ct_field) if self.is_generic else (link.name,)
        self.columns = [link.model._meta.get_field(name).attname for name in names]

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        for model in family(self.link.model):
            yield signals.pre_save, self.saving, model
            yield signals.post_save, self.saved, model
            yield signals.pre_delete, self.deleting, model

    def saving(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Note where the stored row leads to. If this changes, the products on both sides are scheduled."""
        if self.listens(using, raw) and self.relation.is_read() and may_exist(instance):
            rows = self.link.model._base_manager.using(using).filter(pk=instance.pk)
            self.remembered(instance)[id(self)] = list(rows.values_list(*self.columns))

    def saved(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        before = self.remembered(instance).pop(id(self), [])
        if self.listens(using, raw) and self.relation.is_read():
            self._schedule([*before, tuple(getattr(instance, name) for name in self.columns)], using)

    def deleting(self, instance: Any, using: str, origin: Any = None, **kwargs: Any) -> None:
        if self.listens(using) and self.relation.is_read():
            rows = self.rows_to_delete(self.link.model, instance, using, origin)
            self._schedule(rows.values_list(*self.columns), using)

    def _schedule(self, rows: Iterable[Sequence[Any]], using: str) -> None:
        keys = list(dict.fromkeys(row[0] for row in rows if None not in row and self._leads_here(row, using)))
        for some in chunks(keys):
            self.relation.schedule(models.Q(**{self.lookup: some}), using)

    def _leads_here(self, row: Sequence[Any], using: str) -> bool:
        """Return whether a row leads to the model of the relation. A generic key may lead to another."""
        if not self.is_generic:
            return True
        kind = self.link.get_content_type(id=row[1], using=using)
        return paths.kin(kind.model_class(), self.relation.model)
