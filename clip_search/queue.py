"""The queue: its connection to Redis, and enqueueing a wake-up for the workers."""

from __future__ import annotations

import json
import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from .conf import conf
from .documents.binding import BoundDocument
from .exceptions import SetupError, in_one_line

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

JOB = "clip_search.jobs.index_due"
JOB_TIMEOUT = 600
"""Seconds after which RQ kills a job: far above what a job works, for a first batch that loads a model."""
FAILURE_TTL = 7 * 24 * 3600
"""Seconds that RQ keeps a failed job with its traceback; RQ's default is a year."""
CONNECT_TIMEOUT = 0.25
ANSWER_TIMEOUT = 0.5
PAUSE_AFTER_FAILURE = 5.0
"""Seconds without another try after Redis did not answer. The workers' sweep finds what was not announced."""

_paused_until: dict[str, float] = {}


def wake(document: BoundDocument) -> bool:
    """Enqueue a wake-up for a worker. Return whether Redis took it; if not, a sweep finds the work."""
    from redis.exceptions import RedisError

    name = conf.queue or ""
    if time.monotonic() < _paused_until.get(name, 0.0):
        return False
    try:
        queue = get_queue(name)
        with queue.connection.pipeline() as pipeline:  # without it, RQ makes two round trips
            queue.enqueue(
                JOB,
                document.name,
                result_ttl=0,
                failure_ttl=FAILURE_TTL,
                job_timeout=JOB_TIMEOUT,
                pipeline=pipeline if queue.is_async else None,  # otherwise the job runs here and now
            )
            pipeline.execute()
    except (RedisError, SetupError) as error:
        _paused_until[name] = time.monotonic() + PAUSE_AFTER_FAILURE
        logger.warning(
            "Cannot enqueue, a worker's sweep will find it queue=%s error=%s", name, in_one_line(error)
        )
        return False
    return True


def get_queue(name: str) -> Any:
    """Return the django-rq queue of that name, on a connection that fails fast. Raises SetupError."""
    import django_rq

    queues = getattr(settings, "RQ_QUEUES", {})
    if name not in queues:
        known = ", ".join(queues) or "none"
        raise SetupError(f'CLIP_SEARCH["QUEUE"]: RQ_QUEUES has no queue {name!r}. It has: {known}.')
    # a hash, because a configuration may hold a password, and error pages show variables
    config = hash(json.dumps(queues[name], default=repr, sort_keys=True))
    connection = _connection(name, config)
    return django_rq.get_queue(name, connection=connection, commit_mode="auto")


@lru_cache(maxsize=8)
def _connection(name: str, _config: int) -> Redis:
    """Return a connection without retries: with redis-py's own, a save takes 4 s while Redis is down."""
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
    if isinstance(pool, SentinelConnectionPool):  # created for us, and only it knows how to find the master
        for client in (connection, *pool.sentinel_manager.sentinels):
            client.connection_pool.connection_kwargs.update(fail_fast)
        return connection
    if type(pool) is not ConnectionPool:
        return connection
    options = pool.connection_kwargs | fail_fast
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


def reset_queue() -> None:
    """Forget connections and pauses, as tests do."""
    _connection.cache_clear()
    _paused_until.clear()
