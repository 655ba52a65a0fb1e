"""Wake workers by enqueueing RQ jobs, on a connection that does not slow a save down if Redis is down."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .conf import conf
from .documents.binding import BoundDocument
from .exceptions import SetupError, in_one_line

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

JOB = "clip_search.jobs.index_due"
JOB_TIMEOUT = 600
"""Seconds after which RQ stops a job. A job takes about 20 s, but the first one may load the CLIP model."""
FAILURE_TTL = 7 * 24 * 3600
"""Seconds for which RQ keeps a failed job with its traceback. RQ's own default is one year."""
CONNECT_TIMEOUT = 0.25
ANSWER_TIMEOUT = 0.5
PAUSE_AFTER_FAILURE = 5.0
"""Seconds for which Redis is not tried again after it did not answer. Idle workers find the due entries."""

_paused_until: dict[str, float] = {}


def wake(document: BoundDocument) -> bool:
    """Enqueue an RQ job that wakes a worker for this document. Return False if that fails.

    If Redis does not answer, nothing is lost: idle workers look for due entries every 30 s.
    """
    from redis.exceptions import RedisError

    name = conf.queue or ""
    if time.monotonic() < _paused_until.get(name, 0.0):
        return False
    try:
        queue = get_queue(name)
        with queue.connection.pipeline() as pipeline:  # one round trip to Redis instead of two
            queue.enqueue(
                JOB,
                document.name,
                result_ttl=0,
                failure_ttl=FAILURE_TTL,
                job_timeout=JOB_TIMEOUT,
                pipeline=pipeline if queue.is_async else None,  # a queue with ASYNC=False runs the job here
            )
            pipeline.execute()
    except (RedisError, SetupError) as error:
        _paused_until[name] = time.monotonic() + PAUSE_AFTER_FAILURE
        logger.warning(
            "Cannot enqueue a job, an idle worker will find the work queue=%s error=%s",
            name,
            in_one_line(error),
        )
        return False
    return True


def get_queue(name: str) -> Any:
    """Return the django-rq queue of this name. Its connection fails within a second if Redis is down.

    Raises SetupError if RQ_QUEUES has no such queue, or if its configuration cannot be used.
    """
    import django_rq

    queues = getattr(settings, "RQ_QUEUES", {})
    if not isinstance(queues, Mapping):
        raise SetupError("RQ_QUEUES is no dict.")
    if name not in queues:
        known = ", ".join(queues) or "none"
        raise SetupError(f'CLIP_SEARCH["QUEUE"]: RQ_QUEUES has no queue {name!r}. It has: {known}.')
    # Django's error pages show local variables, and the configuration may contain a password: use its hash.
    config = hash(json.dumps(queues[name], default=repr, sort_keys=True))
    try:
        connection = _connection(name, config)
        return django_rq.get_queue(name, connection=connection, commit_mode="auto")
    except (AttributeError, ImproperlyConfigured, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SetupError(f'RQ_QUEUES["{name}"] cannot be used. {reason}') from error


@lru_cache(maxsize=8)
def _connection(name: str, _config: int) -> Redis:
    """Return a connection without retries: with redis-py's ten, a save takes 4 s while Redis is down."""
    from django_rq.connection_utils import get_connection
    from redis import ConnectionPool, Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from redis.sentinel import SentinelConnectionPool

    fail_fast = {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": ANSWER_TIMEOUT,
    }
    connection = get_connection(name)
    pool = connection.connection_pool
    if isinstance(pool, SentinelConnectionPool):  # changed in place: only this pool can find the master
        for client in (connection, *pool.sentinel_manager.sentinels):
            client.connection_pool.connection_kwargs.update(fail_fast)
        return connection
    if type(pool) is not ConnectionPool:
        return connection
    options = pool.connection_kwargs | fail_fast
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


def reset_queue() -> None:
    """Forget all connections, and try Redis again at once. For tests that start or stop Redis."""
    _connection.cache_clear()
    _paused_until.clear()
