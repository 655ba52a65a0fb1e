"""The queue and its workers: what each worker writes into its key in Redis, and what that says."""

from __future__ import annotations

from typing import Any, Final

from ..conf import conf
from ..encoders import get_encoder
from ..exceptions import SetupError, in_one_line
from ..queue import get_queue
from ..version import __version__
from .values import QueueStatus, WorkerStatus

VERSION: Final = "clip_search_version"
MODEL: Final = "clip_search_model"
FINGERPRINT: Final = "clip_search_fingerprint"
"""Fields of a worker's key, which is a hash of RQ."""


def worker_fields() -> dict[str, str]:
    """Return what a worker of this process adds to its key. Raises ModelUnavailable."""
    return {VERSION: __version__, MODEL: conf.model, FINGERPRINT: get_encoder().fingerprint}


def queue_status() -> QueueStatus | None:
    """Return the state of the configured queue, or None if QUEUE is None. Ask Redis, without retries."""
    from redis.exceptions import RedisError
    from rq.suspension import is_suspended

    name = conf.queue
    if not name:
        return None
    try:
        queue = get_queue(name)
        return QueueStatus(
            name=name,
            length=queue.count,
            is_suspended=bool(is_suspended(queue.connection)),
            workers=_workers(queue),
            error="",
        )
    except RedisError as error:
        reason = f"Redis does not answer for the queue {name!r}: {in_one_line(error)}"
        remedy = f"Check that it runs where RQ_QUEUES[{name!r}] says."
        return _unreachable(name, f"{reason.rstrip('.')}. {remedy}")
    except SetupError as error:
        return _unreachable(name, str(error))


def _unreachable(name: str, error: str) -> QueueStatus:
    return QueueStatus(name=name, length=None, is_suspended=False, workers=(), error=error)


def _workers(queue: Any) -> list[WorkerStatus]:
    """Return the workers of the queue that are alive: those whose key in Redis has not expired."""
    from rq import Worker

    keys = sorted(Worker.all_keys(queue=queue))
    with queue.connection.pipeline() as pipeline:
        for key in keys:
            pipeline.hgetall(key)
        hashes = pipeline.execute()
    found = []
    for key, values in zip(keys, hashes, strict=True):
        facts = {_text(field): _text(value) for field, value in values.items()}
        if not facts or "death" in facts:  # a key without fields has expired
            continue
        found.append(
            WorkerStatus(
                name=key.removeprefix(Worker.redis_worker_namespace_prefix),
                hostname=facts.get("hostname", ""),
                pid=int(facts.get("pid") or 0),
                state=facts.get("state", ""),
                last_heartbeat=facts.get("last_heartbeat", ""),
                version=facts.get(VERSION, ""),
                model=facts.get(MODEL, ""),
                fingerprint=facts.get(FINGERPRINT, ""),
            )
        )
    return found


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
