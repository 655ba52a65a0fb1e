"""What every receiver of signals has: its connections, and whether a change counts."""

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
    """Schedule nothing inside this block, in this thread or task."""
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def family(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the model with its proxies and subclasses: Django sends a signal for the saved class alone."""
    concrete = model._meta.concrete_model or model
    return [m for m in apps.get_models() if m._meta.concrete_model and issubclass(m, concrete)]


def may_exist(instance: Any) -> bool:
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
            with naming_missing_tables():
                handler(*args, **kwargs)
        except DatabaseError:
            raise
        except SetupError as error:  # `manage.py check` reports it too
            logger.error("Cannot schedule, the nightly run will find it error=%s", in_one_line(error))
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

    def rows_to_delete(
        self, model: type[models.Model], instance: Any, using: str, origin: Any
    ) -> models.QuerySet[Any]:
        """Return the rows whose deletion is to be handled now, as they are in the database.

        Django sends a signal for each row. If a queryset is deleted, the first row stands for all.
        """
        rows = model._base_manager.using(using)
        if not (isinstance(origin, models.QuerySet) and isinstance(instance, origin.model)):
            return rows.filter(pk=instance.pk)
        handled: set[Any] = origin.__dict__.setdefault("_clip_search_handled", {}).setdefault(id(self), set())
        if instance.pk in handled:
            handled.remove(instance.pk)  # the queryset may be deleted again later
            return rows.none()
        rows = rows.filter(pk__in=origin.order_by().values("pk"))
        handled.update(rows.values_list("pk", flat=True))
        handled.discard(instance.pk)
        return rows

    def listens(self, using: str, raw: bool = False, update_fields: frozenset[str] | None = None) -> bool:
        """Return whether this change is to be scheduled."""
        if raw or using != self.document.using or not conf.autosync or _paused.get():
            return False
        watched = None if update_fields is None else self.document.watched_columns
        return watched is None or bool(watched & (update_fields or frozenset()))
