"""The RQ worker: does not fork, loads the model once, sweeps while idle, survives Redis."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from types import FrameType
from typing import Any

from django.conf import settings
from django.db import close_old_connections
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.worker import WorkerStatus

from . import images, indexing, jobs
from .cores import share_cores
from .encoder import get_encoder
from .exceptions import SetupError

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 25
"""How often an idle worker looks for entries whose wake-up was lost."""
WAIT_SECONDS = 5
"""How long it waits for a job before it looks whether a sweep is due: entries wait 30 s at most."""
SECONDS_TO_DROP = 7.5
"""After a request to stop, whatever the job waits for is broken off: a store may take longer to answer."""
REDIS_DOWN = (RedisConnectionError, RedisTimeoutError)


def _drop(signum: int, frame: FrameType | None) -> None:
    raise indexing.Stopped  # a store's client may take it for a fault of the store: given back all the same


class EmbeddingWorker(SimpleWorker):
    """RQ's SimpleWorker for jobs that need a large model.

    RQ's default worker forks for each job: the model would be loaded for every one, CUDA fails after a
    fork, and OpenMP can hang. Set `RQ = {"WORKER_CLASS": "clip_search.worker.EmbeddingWorker"}`.
    """

    def __init__(self, queues: Any, *args: Any, **kwargs: Any) -> None:
        # RQ makes one of no queues for each worker that it knows of
        first = next(iter(queues), None) if isinstance(queues, list | tuple) else queues
        if isinstance(first, Queue):
            # `rqworker` names pickle unless told otherwise, whatever the queue's jobs were written with;
            # the queues that `rqworker-pool` makes do not know it either
            written_with = settings.RQ_QUEUES.get(first.name, {}).get("SERIALIZER")
            kwargs["serializer"] = written_with or first.serializer
        super().__init__(queues, *args, **kwargs)
        # RQ waits for Redis where that is right; redis-py's own ten retries make each call there take 4 s
        self.connection.set_retry(Retry(NoBackoff(), 1))
        self.maintenance_interval = SWEEP_SECONDS
        self.fault: SetupError | None = None
        self._colleagues: list[str] = []

    @property
    def dequeue_timeout(self) -> int:
        """Seconds to wait for a job before looking whether a sweep is due."""
        return WAIT_SECONDS

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Load the model, then work. Where the set-up is at fault: one line with the remedy, status 1."""
        jobs.stopping.reset()
        images.give_memory_back()
        try:
            get_encoder().warm_up()
            worked = super().work(*args, **kwargs)
        except SetupError as error:
            self.fault = error
        if self.fault is not None:
            logger.error("Stopping, the set-up is at fault error=%s", self.fault)
            raise SystemExit(1)
        return worked

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job here. A Redis that dies meanwhile loses nothing: the entries say what is due."""
        close_old_connections()
        self.share()
        try:
            super().execute_job(job, queue)
        except REDIS_DOWN as error:
            logger.warning("Redis is gone, waiting for it error=%s", error)
        finally:
            close_old_connections()

    def share(self) -> None:
        """Leave this machine's other workers their part of its cores, and all others theirs of the work."""
        with contextlib.suppress(*REDIS_DOWN):
            colleagues = sorted(self.all_keys(connection=self.connection))
            if colleagues == self._colleagues:
                return
            workers = self.all(connection=self.connection)
            share_cores(max(1, sum(worker.hostname == self.hostname for worker in workers)))
            team = [worker for worker in workers if set(self.queue_names()) & set(worker.queue_names())]
            jobs.team.workers = max(1, len(team))
            self._colleagues = colleagues

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Stop where no job can succeed."""
        super().handle_exception(job, *exc_info)
        if isinstance(exc_info[1], SetupError):
            self.fault = exc_info[1]
            self._stop_requested = True

    def handle_warm_shutdown_request(self) -> None:
        """Finish or give back the batch under way, even if something outside does not let go of it."""
        super().handle_warm_shutdown_request()
        jobs.stopping.request()
        if self.get_state() == WorkerStatus.BUSY and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, _drop)  # RQ's own alarm is for this job, and longer
            signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_DROP)

    def run_maintenance_tasks(self) -> None:
        """Do RQ's own chores, and sweep."""
        with contextlib.suppress(*REDIS_DOWN):
            super().run_maintenance_tasks()
        try:
            close_old_connections()
            jobs.sweep()
        except StopRequested:
            raise
        except Exception:
            logger.exception("Cannot sweep")

    def check_for_suspension(self, burst: bool) -> None:
        """Wait for Redis here: outside its wait for a job, RQ gives up when Redis is gone."""
        while True:
            try:
                super().check_for_suspension(burst)
                return
            except REDIS_DOWN as error:
                logger.warning("Redis is gone, waiting for it error=%s", error)
                time.sleep(1)

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(*REDIS_DOWN):
            super().heartbeat(*args, **kwargs)

    def set_state(self, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(*REDIS_DOWN):
            super().set_state(*args, **kwargs)

    def set_shutdown_requested_date(self) -> None:
        with contextlib.suppress(*REDIS_DOWN):
            super().set_shutdown_requested_date()

    def teardown(self) -> None:
        with contextlib.suppress(*REDIS_DOWN):
            super().teardown()
