"""Django's signals become raised entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import signals

from . import jobs, paths
from .conf import conf
from .documents import Document
from .models import ROWS_PER_STATEMENT

_paused: ContextVar[bool] = ContextVar("clip_search_paused", default=False)
_connected: dict[str, list[Receiver]] = {}


@contextmanager
def pause() -> Iterator[None]:
    """Raise nothing meanwhile, in this thread or task."""
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def connect(document: Document) -> None:
    """Listen to everything that can change a product of this document.

    A relation that the declaration names and the model does not have is left out: a check names it.
    """
    receivers: list[Receiver] = [ProductReceiver(document)]
    receivers += [
        ManyToManyReceiver(document, f) for f in document.model._meta.get_fields() if f.many_to_many
    ]
    for model, declared in document.related.items():
        for path in [declared] if isinstance(declared, str) else declared:
            with suppress(FieldDoesNotExist):
                receivers.append(RelatedReceiver(document, model, path))
    for receiver in receivers:
        receiver.connect()
    _connected[document.name] = receivers


def disconnect(document: Document) -> None:
    """Listen no more, as tests do."""
    for receiver in _connected.pop(document.name, []):
        receiver.disconnect()


def _family(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the model with its proxies and subclasses: a signal is sent for the class that was saved."""
    concrete = model._meta.concrete_model or model
    return [m for m in apps.get_models() if m._meta.concrete_model and issubclass(m, concrete)]


def _raise(document: Document, product_ids: Sequence[str]) -> None:
    if len(product_ids) > ROWS_PER_STATEMENT:
        jobs.request_related(document, product_ids=list(product_ids))
    elif product_ids:
        jobs.request(document, product_ids)


class Receiver:
    """Listens to signals for one document."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        """Return (signal, method, sender) for each connection."""
        raise NotImplementedError

    def connect(self) -> None:
        for signal, handler, sender in self.handlers():
            signal.connect(handler, sender=sender, weak=False)

    def disconnect(self) -> None:
        for signal, handler, sender in self.handlers():
            signal.disconnect(handler, sender=sender)

    def listens(self, using: str, raw: bool = False) -> bool:
        """Say whether this change counts."""
        return not raw and using == self.document.using and conf.autosync and not _paused.get()


class ProductReceiver(Receiver):
    """Saves and deletes of the document's own model."""

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        for model in _family(self.document.model):
            yield signals.post_save, self.saved, model
            yield signals.pre_delete, self.deleting, model
            if "index_as" in self.document.overridden:
                yield signals.pre_save, self.saving, model

    def saving(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Remember which point stood for the row until now: a variant may move to another parent."""
        if self.listens(using, raw) and not instance._state.adding:
            before = self.document.model._base_manager.using(using).filter(pk=instance.pk)
            instance._clip_search_before = self.document.product_ids(list(before))

    def saved(
        self,
        instance: Any,
        using: str,
        raw: bool = False,
        update_fields: frozenset[str] | None = None,
        **kwargs: Any,
    ) -> None:
        before = instance.__dict__.pop("_clip_search_before", [])
        if self.listens(using, raw) and self._touched(update_fields):
            _raise(self.document, list(dict.fromkeys([*before, *self.document.product_ids([instance])])))

    def deleting(self, instance: Any, using: str, **kwargs: Any) -> None:
        if self.listens(using):
            _raise(self.document, self.document.product_ids([instance]))

    def _touched(self, update_fields: frozenset[str] | None) -> bool:
        watched = self.document.watched_columns
        return update_fields is None or watched is None or bool(watched & update_fields)


class ManyToManyReceiver(Receiver):
    """Changes of a many-to-many relation of the document's model, from either side."""

    def __init__(self, document: Document, field: Any) -> None:
        super().__init__(document)
        self.lookup = field.name
        self.accessor = field.get_accessor_name() if field.auto_created else field.name
        self.through = field.through if field.auto_created else field.remote_field.through

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        yield signals.m2m_changed, self.changed, self.through

    def changed(
        self, instance: Any, action: str, using: str, pk_set: set[Any] | None = None, **kwargs: Any
    ) -> None:
        if action not in ("post_add", "post_remove", "pre_clear") or not self.listens(using):
            return
        if not self.document.reads(self.accessor):
            return
        if isinstance(instance, self.document.model):
            _raise(self.document, self.document.product_ids([instance]))
            return
        products = self.document.model._base_manager.using(using)
        of_instance = {self.lookup: instance} if action == "pre_clear" else {"pk__in": pk_set or ()}
        _raise(self.document, self.document.product_ids(products.filter(**of_instance)))


class RelatedReceiver(Receiver):
    """Saves and deletes of a model that a `related` path leads from.

    The leading steps of the path that are columns are followed at once: they cost a query and lead to
    one object. What branches out from there is left to a worker.
    """

    def __init__(self, document: Document, model: type[models.Model], path: str) -> None:
        super().__init__(document)
        self.model = model
        self.forward, self.rest = paths.split_forward(model, path)
        self.lookup = paths.lookup(model, path)
        self.forward_lookup = paths.lookup(model, ".".join(self.forward)) if self.forward else ""

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        for model in _family(self.model):
            yield signals.post_save, self.saved, model
            yield signals.pre_delete, self.deleting, model
            if self.forward:
                yield signals.pre_save, self.saving, model

    def saving(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Remember where the row led until now: a foreign key that moves counts for both sides."""
        if self.listens(using, raw) and not instance._state.adding:
            self._before(instance)[id(self)] = self._reached(instance, using)

    def saved(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        before = self._before(instance).pop(id(self), [])
        if not self.listens(using, raw):
            return
        reached = list(dict.fromkeys([*before, *self._reached(instance, using)]))
        if not self.rest:
            _raise(self.document, self._product_ids(reached, using))
            return
        for key in reached:
            jobs.request_related(self.document, **self._change(key))

    def deleting(self, instance: Any, using: str, **kwargs: Any) -> None:
        """Take the ids now: behind a deleted row nobody would find them."""
        if self.listens(using):
            rows = self.model._base_manager.using(using).filter(pk=instance.pk)
            keys = rows.values_list(f"{self.lookup}__pk", flat=True)
            _raise(self.document, self._product_ids([key for key in keys if key is not None], using))

    def _before(self, instance: Any) -> dict[int, list[Any]]:
        before: dict[int, list[Any]] = instance.__dict__.setdefault("_clip_search_reached", {})
        return before

    def _reached(self, instance: Any, using: str) -> list[Any]:
        """Return the keys of the objects at the end of the path's columns, as the database has them."""
        if not self.forward:
            return [instance.pk]
        rows = self.model._base_manager.using(using).filter(pk=instance.pk)
        keys = rows.values_list(f"{self.forward_lookup}__pk", flat=True)
        return [key for key in keys if key is not None]

    def _change(self, key: Any) -> Mapping[str, str]:
        start = paths.follow(self.model, self.forward)
        path = paths.lookup(start, ".".join(self.rest))
        return {"model": start._meta.label_lower, "object_id": str(key), "path": path}

    def _product_ids(self, keys: Sequence[Any], using: str) -> list[str]:
        if self.document.ids_are_keys:
            return list(dict.fromkeys(str(key) for key in keys))
        return self.document.product_ids(self.document.model._base_manager.using(using).filter(pk__in=keys))
