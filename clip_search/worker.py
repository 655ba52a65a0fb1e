"""`EmbeddingWorker`: an RQ worker that loads the CLIP model once and waits if Redis is down."""

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
from rq import Queue, SimpleWorker, worker_registration
from rq.exceptions import StopRequested
from rq.job import Job
from rq.worker import WorkerStatus

from . import images, indexing, jobs
from .encoders import get_encoder
from .encoders.inter_op import share_cores
from .exceptions import SetupError
from .status.workers import worker_fields

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 25
"""How often an idle worker looks for due entries, because the RQ job for them may have been lost."""
WAIT_SECONDS = 5
"""How long an idle worker waits for an RQ job before it checks whether SWEEP_SECONDS are over.

So due entries are found after 30 s at most.
"""
IDLE_SECONDS = 60
"""How long an idle worker counts as alive after its last heartbeat, which it sends every WAIT_SECONDS."""
BUSY_SECONDS = 300
"""The same for a worker that runs an RQ job, during which it sends none. RQ's own 11 minutes are too long to
learn that it was killed."""
SECONDS_TO_INTERRUPT = 7.5
"""Seconds after a request to stop until the running RQ job is interrupted, even if it waits for Qdrant."""
REDIS_DOWN = (RedisConnectionError, RedisTimeoutError)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise Stopped inside the running RQ job. The pipeline then releases the claims of the job."""
    raise indexing.Stopped


class EmbeddingWorker(SimpleWorker):
    """An RQ worker that keeps the CLIP model loaded between jobs, because it does not fork.

    RQ's default worker forks for each job: every job would load the CLIP model again, CUDA would fail, and
    OpenMP could hang. Set `RQ = {"WORKER_CLASS": "clip_search.worker.EmbeddingWorker"}`.
    """

    def __init__(self, queues: Any, *args: Any, **kwargs: Any) -> None:
        # RQ also creates an instance of this class, without queues, for each worker that it lists
        first = next(iter(queues), None) if isinstance(queues, list | tuple) else queues
        if isinstance(first, Queue):
            # `rqworker` passes pickle by default, and the queues of `rqworker-pool` have no serializer. Jobs
            # must be read with the serializer that wrote them: that of RQ_QUEUES.
            serializer = settings.RQ_QUEUES.get(first.name, {}).get("SERIALIZER")
            kwargs["serializer"] = serializer or first.serializer
        super().__init__(queues, *args, **kwargs)
        # One retry instead of redis-py's ten, with which each call takes 4 s. RQ itself waits for Redis.
        self.connection.set_retry(Retry(NoBackoff(), 1))
        self.maintenance_interval = SWEEP_SECONDS
        self.fault: SetupError | None = None
        self._colleagues: list[str] = []

    @property
    def dequeue_timeout(self) -> int:
        """Return how many seconds RQ waits for a job before it runs due maintenance."""
        return WAIT_SECONDS

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Load the CLIP model, then run jobs until the worker is stopped.

        If the settings are wrong, log one line with the remedy, and exit with status 1.
        """
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
        """Run an RQ job in this process.

        If Redis is lost during the job, no work is lost: the index entries in the database still say what is
        due.
        """
        close_old_connections()
        self.count_workers()
        try:
            super().execute_job(job, queue)
        except REDIS_DOWN as error:
            logger.warning("Redis does not answer, waiting for it error=%s", error)
        finally:
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)  # the alarm would kill a process that ends slowly
            close_old_connections()

    def count_workers(self) -> None:
        """Count the workers that run now, so that they share the cores and the due entries.

        Workers on the same machine share its cores; workers of the same queue share the due entries.
        """
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
        """Let RQ record the failed job. If the settings are wrong, stop the worker: no job could succeed."""
        super().handle_exception(job, *exc_info)
        if isinstance(exc_info[1], SetupError):
            self.fault = exc_info[1]
            self._stop_requested = True

    def handle_warm_shutdown_request(self) -> None:
        """Stop after the running RQ job, and give it SECONDS_TO_INTERRUPT seconds to end.

        This is called when the process gets SIGTERM or SIGINT. Unfinished entries stay pending.
        """
        super().handle_warm_shutdown_request()
        jobs.worker_state.request_stop()
        if self.get_state() == WorkerStatus.BUSY and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, _interrupt)  # replaces RQ's own alarm, which would come later
            signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_INTERRUPT)

    def run_maintenance_tasks(self) -> None:
        """Run RQ's own maintenance, and look for due entries. RQ calls this every SWEEP_SECONDS."""
        with contextlib.suppress(*REDIS_DOWN):
            super().run_maintenance_tasks()
        try:
            close_old_connections()
            jobs.sweep()
        except StopRequested:
            raise
        except Exception:
            logger.exception("Cannot look for due entries")

    def check_for_suspension(self, burst: bool) -> None:
        """Wait until Redis answers. RQ calls this before each job, and would end if Redis did not answer."""
        while True:
            try:
                super().check_for_suspension(burst)
                return
            except REDIS_DOWN as error:
                logger.warning("Redis does not answer, waiting for it error=%s", error)
                time.sleep(1)

    def serialize(self) -> dict[str, Any]:
        """Return the fields of this worker's key in Redis, with the version and the CLIP model it has."""
        return {**super().serialize(), **worker_fields()}

    # RQ would end the worker if one of the following calls failed while Redis is down.

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Extend the life of this worker's key in Redis. RQ calls this between jobs and before each job.

        If Redis has lost the key, write it again, because others count the workers by their keys.
        """
        with contextlib.suppress(*REDIS_DOWN):
            if pipeline is None and not self.connection.hexists(self.key, "birth"):
                self.register_again()
            super().heartbeat(min(timeout, BUSY_SECONDS) if timeout else IDLE_SECONDS, pipeline)

    def register_again(self) -> None:
        """Write this worker's key, and its name into the lists of workers."""
        fields: Any = self.serialize()
        with self.connection.pipeline() as pipeline:
            pipeline.hset(self.key, mapping=fields)
            worker_registration.register(self, pipeline)
            pipeline.execute()

    def set_state(self, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(*REDIS_DOWN):
            super().set_state(*args, **kwargs)

    def set_shutdown_requested_date(self) -> None:
        with contextlib.suppress(*REDIS_DOWN):
            super().set_shutdown_requested_date()

    def teardown(self) -> None:
        with contextlib.suppress(*REDIS_DOWN):
            super().teardown()
