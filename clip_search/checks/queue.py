"""Checks of the queue, of its workers, and of the databases to which workers write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from ..conf import conf
from ..documents.registry import registry
from .configuration import usable
from .messages import error, warning

WORKER: Final = "clip_search.worker.EmbeddingWorker"
PICKLE: Final = ("DefaultSerializer", "PickleSerializer")


def check_queue(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the queue that CLIP_SEARCH["QUEUE"] names. If it is None, there is nothing to check."""
    name = usable("QUEUE")
    if name is None or not isinstance(conf.raw, Mapping):
        return []
    queues = getattr(settings, "RQ_QUEUES", {})
    queues = queues if isinstance(queues, Mapping) else {}
    found = list(_installed())
    if name not in queues:
        message = f'CLIP_SEARCH["QUEUE"] names a queue that is not in RQ_QUEUES: {name!r}'
        hint = f"Add this queue, or set QUEUE to None to index without workers. There are: {_names(queues)}."
        return [*found, error("clip_search.E014", message, hint)]
    if not isinstance(queues[name], Mapping):
        hint = 'Write it as django-rq expects it, such as {"HOST": "localhost", "PORT": 6379, "DB": 0}.'
        return [*found, error("clip_search.E014", f"RQ_QUEUES[{name!r}] is no dict.", hint)]
    return [*found, *_serializer(name, queues[name]), *_worker(), *_databases()]


def _names(queues: Mapping[str, Any]) -> str:
    return ", ".join(sorted(queues)) or "none"


def _installed() -> Iterator[CheckMessage]:
    if not apps.is_installed("django_rq"):
        message = 'CLIP_SEARCH["QUEUE"] is set, but django_rq is not in INSTALLED_APPS.'
        yield error(
            "clip_search.E015",
            message,
            'Add "django_rq", which brings `manage.py rqworker`, or set QUEUE to None.',
        )


def _serializer(name: str, queue: Mapping[str, Any]) -> Iterator[CheckMessage]:
    serializer = queue.get("SERIALIZER", "DefaultSerializer")
    label = serializer if isinstance(serializer, str) else getattr(serializer, "__name__", "")
    if label.rpartition(".")[2] in PICKLE:
        message = f"The jobs of queue {name!r} are pickled: whoever can write to Redis can run code here."
        hint = f'Write RQ_QUEUES["{name}"]["SERIALIZER"] = "rq.serializers.JSONSerializer".'
        yield warning("clip_search.W005", message, hint)


def _worker() -> Iterator[CheckMessage]:
    path = getattr(settings, "RQ", {}).get("WORKER_CLASS")
    if path != WORKER and not _is_ours(path):
        message = "RQ's own worker class forks for each job: each job loads the model again, and CUDA fails."
        yield warning("clip_search.W004", message, f'Write RQ = {{"WORKER_CLASS": "{WORKER}"}}.')


def _is_ours(path: Any) -> bool:
    """Return whether the shop's worker class is a subclass of `EmbeddingWorker`."""
    try:
        worker = import_string(path) if isinstance(path, str) else path
    except ImportError:
        return False
    return isinstance(worker, type) and issubclass(worker, import_string(WORKER))


def _databases() -> Iterator[CheckMessage]:
    databases: Mapping[str, Any] = settings.DATABASES
    for alias in sorted({document.using for document in registry} or {"default"}):
        database = databases.get(alias, {})
        if str(database.get("ENGINE")).endswith("sqlite3") and not _takes_several_writers(database):
            message = f"Database {alias!r} is SQLite without WAL and IMMEDIATE, but workers write to it too."
            hint = (
                f'Write DATABASES["{alias}"]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE", "timeout": 20, '
                '"init_command": "PRAGMA journal_mode=WAL;"}. Without them, saves fail: "database is locked".'
            )
            yield warning("clip_search.W006", message, hint)


def _takes_several_writers(database: Mapping[str, Any]) -> bool:
    options = database.get("OPTIONS", {})
    wal = "journal_mode=wal" in str(options.get("init_command", "")).lower().replace(" ", "")
    return wal and str(options.get("transaction_mode")).upper() == "IMMEDIATE"
