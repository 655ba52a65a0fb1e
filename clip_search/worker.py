"""The RQ worker: it does not fork, loads the model once, sweeps while idle, and survives Redis."""

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
from .encoders import get_encoder
from .encoders.inter_op import share_cores
from .exceptions import SetupError

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 25
"""How often an idle worker looks for entries whose wake-up was lost."""
WAIT_SECONDS = 5
"""How long it waits for a job before it checks whether a sweep is due, so that entries wait 30 s at most."""
SECONDS_TO_DROP = 7.5
"""Seconds after a request to stop until the job is interrupted: a store may take longer to answer."""
REDIS_DOWN = (RedisConnectionError, RedisTimeoutError)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise indexing.Stopped  # a store's client may report it as its own error; the batch is given back anyway


class EmbeddingWorker(SimpleWorker):
    """RQ's SimpleWorker for jobs that need a large model.

    RQ's default worker forks for each job: every job would load the model, CUDA fails after a fork, and
    OpenMP can hang. Set `RQ = {"WORKER_CLASS": "clip_search.worker.EmbeddingWorker"}`.
    """

    def __init__(self, queues: Any, *args: Any, **kwargs: Any) -> None:
        # RQ also creates an instance without queues for each worker that it lists
        first = next(iter(queues), None) if isinstance(queues, list | tuple) else queues
        if isinstance(first, Queue):
            # `rqworker` passes pickle by default, whatever the queue's jobs were written with; the queues
            # that `rqworker-pool` creates do not have the configured serializer either
            written_with = settings.RQ_QUEUES.get(first.name, {}).get("SERIALIZER")
            kwargs["serializer"] = written_with or first.serializer
        super().__init__(queues, *args, **kwargs)
        # RQ itself waits for Redis; redis-py's own ten retries would make each call take 4 s
        self.connection.set_retry(Retry(NoBackoff(), 1))
        self.maintenance_interval = SWEEP_SECONDS
        self.fault: SetupError | None = None
        self._colleagues: list[str] = []

    @property
    def dequeue_timeout(self) -> int:
        """Seconds to wait for a job before checking whether a sweep is due."""
        return WAIT_SECONDS

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Load the model, then work. If the settings are wrong: one line with the remedy, exit status 1."""
        jobs.worker_state.reset()
        images.release_memory_early()
        try:
            get_encoder().warm_up()
            worked = super().work(*args, **kwargs)
        except SetupError as error:
            self.fault = error
        if self.fault is not None:
            logger.error("Stopping, the settings are wrong error=%s", self.fault)
            raise SystemExit(1)
        return worked

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job in this process. If Redis dies, nothing is lost: the entries say what is due."""
        close_old_connections()
        self.share()
        try:
            super().execute_job(job, queue)
        except REDIS_DOWN as error:
            logger.warning("Redis is gone, waiting for it error=%s", error)
        finally:
            close_old_connections()

    def share(self) -> None:
        """Share the cores with this machine's other workers, and the work with all workers of the queue."""
        with contextlib.suppress(*REDIS_DOWN):
            colleagues = sorted(self.all_keys(connection=self.connection))
            if colleagues == self._colleagues:
                return
            workers = self.all(connection=self.connection)
            share_cores(max(1, sum(worker.hostname == self.hostname for worker in workers)))
            team = [worker for worker in workers if set(self.queue_names()) & set(worker.queue_names())]
            jobs.worker_state.workers = max(1, len(team))
            self._colleagues = colleagues

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Stop if no job can succeed."""
        super().handle_exception(job, *exc_info)
        if isinstance(exc_info[1], SetupError):
            self.fault = exc_info[1]
            self._stop_requested = True

    def handle_warm_shutdown_request(self) -> None:
        """Finish or give back the batch under way, even if something outside does not answer."""
        super().handle_warm_shutdown_request()
        jobs.worker_state.request_stop()
        if self.get_state() == WorkerStatus.BUSY and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, _interrupt)  # RQ's own alarm, for this job, is longer
            signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_DROP)

    def run_maintenance_tasks(self) -> None:
        """Run RQ's own maintenance, and sweep."""
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
        """Wait for Redis here: RQ gives up if Redis is gone while it is not waiting for a job."""
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
