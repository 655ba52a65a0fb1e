"""Django's signals schedule products for indexing."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from itertools import chain
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, OperationalError, ProgrammingError, models
from django.db.models import signals

from . import outbox
from .conf import conf
from .documents import paths
from .documents.binding import BoundDocument
from .models.paging import ROWS_PER_STATEMENT

logger = logging.getLogger(__name__)

NO_TABLE: Final = re.compile("no such table|doesn't exist")
NO_TABLES: Final = ". If the tables of clip_search are missing, run `manage.py migrate clip_search`."

_paused: ContextVar[bool] = ContextVar("clip_search_paused", default=False)
_connected: dict[str, list[Receiver]] = {}


@contextmanager
def pause() -> Iterator[None]:
    """Schedule nothing inside this block, in this thread or task."""
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def connect(document: BoundDocument) -> None:
    """Connect to the signals of everything that can change a product of this document.

    Anything in `related` that is no model, or has no such relation, is left out: a check reports it.
    """
    receivers: list[Receiver] = [ProductReceiver(document)]
    receivers += [
        ManyToManyReceiver(document, f) for f in document.model._meta.get_fields() if f.many_to_many
    ]
    for model, declared in document.declaration.related.items():
        if not isinstance(model, models.base.ModelBase):
            continue
        for path in [declared] if isinstance(declared, str) else declared:
            with suppress(FieldDoesNotExist):
                receivers.append(RelatedReceiver(document, model, path))
    for receiver in receivers:
        receiver.connect()
    _connected[document.name] = receivers


def disconnect(document: BoundDocument) -> None:
    """Disconnect again, as tests do."""
    for receiver in _connected.pop(document.name, []):
        receiver.disconnect()


def _family(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the model with its proxies and subclasses: Django sends a signal for the saved class alone."""
    concrete = model._meta.concrete_model or model
    return [m for m in apps.get_models() if m._meta.concrete_model and issubclass(m, concrete)]


def _may_exist(instance: Any) -> bool:
    """Return whether saving may update a row. An instance with a key may, also if it was not read."""
    key = instance._meta.pk
    return instance.pk is not None and not (instance._state.adding and key.has_default())


def _harmless(handler: Callable[..., None]) -> Callable[..., None]:
    """Return a handler whose errors do not break the host's own save, delete or change.

    They are logged, and the nightly run finds the products. An error of the database is raised: a transaction
    cannot go on after it, and without the row in the outbox the change would be lost.
    """

    @wraps(handler)
    def handle(*args: Any, **kwargs: Any) -> None:
        try:
            handler(*args, **kwargs)
        except ProgrammingError as error:
            raise ProgrammingError(f"{error}{NO_TABLES}") from error
        except OperationalError as error:
            if not NO_TABLE.search(str(error)):
                raise
            raise OperationalError(f"{error}{NO_TABLES}") from error
        except DatabaseError:
            raise
        except Exception:  # the host's own methods may raise anything
            logger.exception("Cannot schedule, the nightly run will find it sender=%s", kwargs.get("sender"))

    return handle


class Receiver:
    """Receives signals for one document."""

    def __init__(self, document: BoundDocument) -> None:
        self.document = document

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        """Return (signal, method, sender) for each connection."""
        raise NotImplementedError

    def connect(self) -> None:
        """Connect the handlers."""
        self._connected = [
            (signal, _harmless(handler), sender) for signal, handler, sender in self.handlers()
        ]
        for signal, handler, sender in self._connected:
            signal.connect(handler, sender=sender, weak=False)

    def disconnect(self) -> None:
        """Disconnect the handlers."""
        for signal, handler, sender in self._connected:
            signal.disconnect(handler, sender=sender)

    def remembered(self, instance: Any) -> dict[int, list[Any]]:
        """Return what receivers stored on an instance before it was saved, each under its own id."""
        notes: dict[int, list[Any]] = instance.__dict__.setdefault("_clip_search_before", {})
        return notes

    def listens(self, using: str, raw: bool = False, update_fields: frozenset[str] | None = None) -> bool:
        """Return whether this change is to be scheduled."""
        if raw or using != self.document.using or not conf.autosync or _paused.get():
            return False
        watched = None if update_fields is None else self.document.watched_columns
        return watched is None or bool(watched & (update_fields or frozenset()))


class ProductReceiver(Receiver):
    """Saves and deletes of the document's own model."""

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        for model in _family(self.document.model):
            yield signals.post_save, self.saved, model
            yield signals.pre_delete, self.deleting, model
            if not self.document.ids_are_keys:
                yield signals.pre_save, self.saving, model
        concrete = self.document.model._meta.concrete_model or self.document.model
        for parent in concrete._meta.get_parent_list():
            yield signals.post_save, self.parent_saved, parent

    def saving(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Remember which point stands for the row so far: a variant may move, an id may change."""
        if self.listens(using, raw) and _may_exist(instance):
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


class ManyToManyReceiver(Receiver):
    """Changes of a many-to-many relation of the document's model, from either side."""

    def __init__(self, document: BoundDocument, field: Any) -> None:
        super().__init__(document)
        self.lookup = field.name
        self.reverse = bool(field.auto_created)
        # taggit's relation says that it is symmetrical, though it does not lead to the same model
        to_itself = field.related_model._meta.concrete_model is document.model._meta.concrete_model
        self.symmetrical = to_itself and bool(getattr(field.remote_field, "symmetrical", False))
        self.accessor = field.get_accessor_name() if field.auto_created else field.name
        self.through = field.through if field.auto_created else field.remote_field.through

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        yield signals.m2m_changed, self.changed, self.through

    def changed(
        self,
        instance: Any,
        action: str,
        reverse: bool,
        using: str,
        pk_set: set[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if action not in ("post_add", "post_remove", "pre_clear") or not self.listens(using):
            return
        nothing_new = action != "pre_clear" and not pk_set
        if nothing_new or not self.document.depends_on(self.accessor):
            return
        products = self.document.model._base_manager.using(using)
        near, far = models.Q(pk=instance.pk), models.Q(pk__in=pk_set or ())
        if action == "pre_clear":
            far = models.Q(**{self.lookup: instance.pk})
        which = near | far if self.symmetrical else near if reverse == self.reverse else far
        outbox.schedule(self.document, self.document.product_ids(products.filter(which)))


class RelatedReceiver(Receiver):
    """Saves and deletes of a model in `related`.

    The leading steps of its path that are columns are followed at once: they cost one query and lead to one
    object. The rest, which may lead to many products, is left to a worker.
    """

    def __init__(self, document: BoundDocument, model: type[models.Model], path: str) -> None:
        super().__init__(document)
        self.model = model
        self.forward, self.rest = paths.split_forward(model, path)
        self.lookup = paths.lookup(model, path)
        end = paths.follow(model, self.lookup.split("__"))
        concrete = document.model._meta.concrete_model or document.model
        if not (issubclass(end, concrete) or issubclass(concrete, end)):
            raise FieldDoesNotExist(
                f"{path!r} of {model.__name__} does not lead to {document.model.__name__}"
            )
        self.forward_lookup = paths.lookup(model, ".".join(self.forward)) if self.forward else ""

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        for model in _family(self.model):
            yield signals.post_save, self.saved, model
            yield signals.pre_delete, self.deleting, model
            if self.forward:
                yield signals.pre_save, self.saving, model

    def saving(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        """Remember where the row leads so far: if a foreign key moves, both sides change."""
        if self.listens(using, raw) and _may_exist(instance):
            self.remembered(instance)[id(self)] = self._reached(instance, using)

    def saved(self, instance: Any, using: str, raw: bool = False, **kwargs: Any) -> None:
        before = self.remembered(instance).pop(id(self), [])
        if not self.listens(using, raw):
            return
        reached = list(dict.fromkeys([*before, *self._reaches(instance, using)]))
        if not self.rest:
            outbox.schedule(self.document, self._product_ids(reached, using))
            return
        for key in reached:
            outbox.schedule_related(self.document, **self._change(key))

    def deleting(self, instance: Any, using: str, **kwargs: Any) -> None:
        """Find the products now: after the row is deleted, they could not be found through it."""
        if self.listens(using):
            rows = self.model._base_manager.using(using).filter(pk=instance.pk)
            keys = rows.values_list(f"{self.lookup}__pk", flat=True)
            outbox.schedule(self.document, self._product_ids([key for key in keys if key is not None], using))

    def _reached(self, instance: Any, using: str) -> list[Any]:
        """Return the keys of the objects that the path's columns lead to, as they are in the database."""
        if not self.forward:
            return [instance.pk]
        rows = self.model._base_manager.using(using).filter(pk=instance.pk)
        keys = rows.values_list(f"{self.forward_lookup}__pk", flat=True)
        return [key for key in keys if key is not None]

    def _reaches(self, instance: Any, using: str) -> list[Any]:
        """Return the same keys for a row that was just saved; its own column needs no query."""
        field: Any = paths.relation(self.model, self.forward[0]) if len(self.forward) == 1 else None
        if field is None or not field.target_field.primary_key:
            return self._reached(instance, using)
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
        chunks = (
            keys[start : start + ROWS_PER_STATEMENT] for start in range(0, len(keys), ROWS_PER_STATEMENT)
        )
        ids = (self.document.product_ids(products.filter(pk__in=chunk)) for chunk in chunks)
        return list(dict.fromkeys(chain.from_iterable(ids)))
