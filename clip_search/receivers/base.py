"""`Receiver`, the base class of the signal receivers; and `pause()`, which makes all ignore signals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import DatabaseError, models
from django.db.models import signals

from ..conf import conf
from ..documents.binding import BoundDocument
from ..exceptions import SetupError, in_one_line
from ..models.tables import naming_missing_tables

logger = logging.getLogger(__name__)

_paused: ContextVar[bool] = ContextVar("clip_search_paused", default=False)


@contextmanager
def pause() -> Iterator[None]:
    """Ignore signals inside this block, in this thread or task.

    Changes made inside the block are not scheduled: run `clip_reindex` later, or call the document's
    `reindex()`.
    """
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def family(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the model, its proxies and its subclasses.

    Each needs a connection of its own, because Django sends a signal only for the class that is saved.
    """
    concrete = model._meta.concrete_model or model
    return [m for m in apps.get_models() if m._meta.concrete_model and issubclass(m, concrete)]


def may_exist(instance: Any) -> bool:
    """Return whether the table may contain the row of an instance that is about to be saved.

    This is True for any instance with a primary key, unless it is new and its key has a default, such as
    uuid4.
    """
    key = instance._meta.pk
    return instance.pk is not None and not (instance._state.adding and key.has_default())


def _logging_errors(handler: Callable[..., None]) -> Callable[..., None]:
    """Return a handler that logs exceptions instead of breaking the shop's own save or delete.

    `clip_reindex` finds such changes later. Database errors are raised nevertheless: after one, the
    transaction cannot continue, and the shop's change would be committed without a row in the outbox.
    """

    @wraps(handler)
    def handle(*args: Any, **kwargs: Any) -> None:
        try:
            with naming_missing_tables():
                handler(*args, **kwargs)
        except DatabaseError:
            raise
        except SetupError as error:  # `manage.py check` reports it too
            logger.error("Cannot schedule the change, clip_reindex will find it error=%s", in_one_line(error))
        except Exception:  # the shop's own methods may raise any exception
            sender = kwargs.get("sender")
            logger.exception("Cannot schedule the change, clip_reindex will find it sender=%s", sender)

    return handle


class Receiver:
    """Base class of the receivers. Each listens to some signals for one document."""

    def __init__(self, document: BoundDocument) -> None:
        self.document = document

    def handlers(self) -> Iterable[tuple[signals.ModelSignal, Any, Any]]:
        """Yield (signal, method, sender) for each signal to connect."""
        raise NotImplementedError

    def connect(self) -> None:
        """Connect all methods that `handlers()` yields to their signals."""
        self._connections = [
            (signal, _logging_errors(handler), sender) for signal, handler, sender in self.handlers()
        ]
        for signal, handler, sender in self._connections:
            signal.connect(handler, sender=sender, weak=False)

    def disconnect(self) -> None:
        """Undo `connect()`."""
        for signal, handler, sender in self._connections:
            signal.disconnect(handler, sender=sender)

    def remembered(self, instance: Any) -> dict[int, list[Any]]:
        """Return the values that receivers noted on the instance in `pre_save`, keyed by `id(receiver)`."""
        notes: dict[int, list[Any]] = instance.__dict__.setdefault("_clip_search_before", {})
        return notes

    def rows_to_delete(
        self, model: type[models.Model], instance: Any, using: str, origin: Any
    ) -> models.QuerySet[Any]:
        """Return those rows, still in the database, whose deletion this signal must handle.

        Django sends one signal for each row. If a whole queryset is deleted, the first signal handles all its
        rows at once, and the later signals get an empty queryset here.
        """
        rows = model._base_manager.using(using)
        if not (isinstance(origin, models.QuerySet) and isinstance(instance, origin.model)):
            return rows.filter(pk=instance.pk)
        handled: set[Any] = origin.__dict__.setdefault("_clip_search_handled", {}).setdefault(id(self), set())
        if instance.pk in handled:
            handled.remove(instance.pk)  # the same queryset may be deleted again later
            return rows.none()
        rows = rows.filter(pk__in=origin.order_by().values("pk"))
        handled.update(rows.values_list("pk", flat=True))
        handled.discard(instance.pk)
        return rows

    def listens(self, using: str, raw: bool = False, update_fields: frozenset[str] | None = None) -> bool:
        """Return whether to schedule this change.

        It is ignored during `loaddata` (`raw`), in another database, with AUTOSYNC off, in `pause()`, or if
        none of `update_fields` can change the index.
        """
        if raw or using != self.document.using or not conf.autosync or _paused.get():
            return False
        watched = None if update_fields is None else self.document.watched_fields
        return watched is None or bool(watched & (update_fields or frozenset()))
