"""Real workers in processes of their own: several at once, killed, stopped, without Redis, badly set up."""

from __future__ import annotations

import signal
import time

import django_rq
import pytest
from django.db import OperationalError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.worker import WorkerStatus

from clip_search import indexing, jobs
from clip_search.models import IndexEntry
from clip_search.worker import EmbeddingWorker
from tests.conftest import QUICK, wait_until
from tests.processes.workers import State, all_indexed, assert_in_step, embedded, ended, indexed, save

AT_ONCE = [*QUICK, "clip_search.jobs.SECONDS_TO_FINISH=0"]
"""What makes a worker that is asked to stop give back its batch, once the model has done a part of it."""

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.mark.sql
def test_three_workers_and_240_saves_embed_each_product_once(start_worker, counts):
    workers = [start_worker() for _ in range(3)]
    for number in range(240):
        save(number)
    assert all_indexed()
    assert_in_step(240)
    for kind in ("text", "image"):
        pieces = embedded(counts, kind)
        assert len(pieces) == 240
        assert set(pieces.values()) == {1}
    assert all(worker.poll() is None for worker in workers)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    assert [ended(worker)[0] for worker in workers] == [0, 0, 0]


@pytest.mark.sql
def test_a_worker_that_is_asked_to_stop_gives_back_what_it_cannot_finish(start_worker, counts):
    for number in range(130):
        save(number)
    worker = start_worker(constants=AT_ONCE, CLIP_SEARCH_TEST_SECONDS_AN_IMAGE="0.2")
    assert wait_until(lambda: bool(embedded(counts, "image")))
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)
    assert code == 0, output
    assert sum(embedded(counts, "image").values()) < indexing.BATCH
    assert indexed() < 130
    assert not IndexEntry.objects.exclude(claim=None).exists()
    assert set(IndexEntry.objects.values_list("state", flat=True)) <= {State.PENDING, State.INDEXED}
    start_worker()
    assert all_indexed()
    assert_in_step(130)


# Redis.


def is_idle() -> bool:
    """Return whether no job waits or runs."""
    queue = django_rq.get_queue("default")
    return not queue.count and not queue.started_job_registry.count


def test_a_worker_outlives_redis_and_finds_what_was_saved_meanwhile(own_valkey, start_worker):
    server, restart = own_valkey
    worker = start_worker()
    save(0)
    assert all_indexed()
    assert wait_until(is_idle)  # or the job that runs may find what is saved next
    server.terminate()
    for number in range(1, 5):
        save(number)
    time.sleep(2)
    assert worker.poll() is None
    assert indexed() == 1
    restart()
    assert all_indexed()
    assert_in_step(5)
    assert worker.poll() is None


def test_a_redis_that_dies_during_a_job_loses_nothing_and_no_worker(own_valkey, start_worker, counts):
    server, restart = own_valkey
    for number in range(40):
        save(number)
    worker = start_worker(CLIP_SEARCH_TEST_SECONDS_AN_IMAGE="0.05")
    assert wait_until(lambda: bool(embedded(counts, "image")))
    server.terminate()
    assert all_indexed()
    assert worker.poll() is None
    restart()
    save(40)
    assert all_indexed()
    assert worker.poll() is None


def test_a_worker_stops_while_redis_is_away(own_valkey, start_worker, counts):
    server, _ = own_valkey
    for number in range(100):
        save(number)
    worker = start_worker(constants=AT_ONCE, CLIP_SEARCH_TEST_SECONDS_AN_IMAGE="0.2")
    assert wait_until(lambda: bool(embedded(counts, "image")))
    server.terminate()
    worker.send_signal(signal.SIGTERM)
    ended(worker)
    assert sum(embedded(counts, "image").values()) < 100
    assert not IndexEntry.objects.exclude(claim=None).exists()


def test_a_worker_that_starts_without_redis_exits_with_status_1(start_worker):
    """The process manager starts it again, as production.rst says."""
    code, output = ended(start_worker(CLIP_SEARCH_TEST_REDIS_PORT="1"))
    assert (code, "Connection refused" in output) == (1, True), output


def test_an_idle_worker_sweeps_up_what_a_flushed_redis_forgot(start_worker, queue):
    worker = start_worker()
    save(0)
    assert all_indexed()
    for number in range(1, 20):
        save(number)
        queue.connection.flushall()
    assert all_indexed()
    assert_in_step(20)
    assert worker.poll() is None
    worker.send_signal(signal.SIGINT)
    assert ended(worker)[0] == 0


def test_a_request_to_stop_is_not_lost_in_a_sweep(queue, monkeypatch, caplog):
    worker = EmbeddingWorker([queue], connection=queue.connection)

    def sweep(error):
        raise error

    monkeypatch.setattr(jobs, "sweep", lambda: sweep(StopRequested()))
    with pytest.raises(StopRequested):
        worker.run_maintenance_tasks()
    monkeypatch.setattr(jobs, "sweep", lambda: sweep(OperationalError("no route to host")))
    worker.run_maintenance_tasks()
    assert "Cannot look for due entries" in caplog.text


def test_no_alarm_is_left_after_a_job_during_which_the_worker_was_asked_to_stop(queue, monkeypatch):
    """It would kill the process if Python took longer than that to shut down."""
    worker, usual = EmbeddingWorker([queue], connection=queue.connection), signal.getsignal(signal.SIGALRM)

    def execute_job(self, job, queue):
        self.set_state(WorkerStatus.BUSY)
        self.handle_warm_shutdown_request()
        assert signal.getitimer(signal.ITIMER_REAL) > (0, 0)

    monkeypatch.setattr(SimpleWorker, "execute_job", execute_job)
    try:
        worker.execute_job(None, queue)
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


def test_an_idle_worker_looks_at_least_every_30_seconds(queue):
    worker = EmbeddingWorker([queue], connection=queue.connection)
    assert worker.maintenance_interval + worker.dequeue_timeout <= 30


def test_workers_share_the_cores_of_their_machine_and_the_work_of_their_queue(queue, monkeypatch):
    shares, sizes = [], []
    monkeypatch.setattr("clip_search.worker.share_cores", shares.append)
    monkeypatch.setattr(jobs.worker_state, "workers", 1)
    workers = [EmbeddingWorker([queue], connection=queue.connection) for _ in range(3)]
    workers[2].hostname = "elsewhere"
    for worker in [*workers, SimpleWorker(["mail"], connection=queue.connection)]:
        worker.register_birth()
    for worker in workers:
        worker.count_workers()
        sizes.append(jobs.worker_state.workers)
        worker.count_workers()  # the same ones are not counted again
    assert shares == [3, 3, 1]
    assert sizes == [3, 3, 3]


def test_a_worker_notices_at_its_next_job_who_has_come_and_who_is_gone(queue, monkeypatch):
    shares = []
    monkeypatch.setattr("clip_search.worker.share_cores", shares.append)
    monkeypatch.setattr(jobs.worker_state, "workers", 1)
    first, second = (EmbeddingWorker([queue], connection=queue.connection) for _ in range(2))
    first.register_birth()
    first.count_workers()
    second.register_birth()
    first.count_workers()
    second.register_death()
    first.count_workers()
    assert shares == [1, 2, 1]
    assert jobs.worker_state.workers == 1


# Set-up.


def test_a_missing_model_stops_the_worker_with_one_line_and_touches_nothing(start_worker):
    save(0)
    before = list(IndexEntry.objects.values())
    worker = start_worker(CLIP_SEARCH_TEST_ENCODER="tests.doubles.encoders.MissingEncoder")
    code, output = ended(worker)
    assert code == 1
    (line,) = (line for line in output.splitlines() if "the settings are wrong" in line)
    assert 'Set CLIP_SEARCH["MODEL"]' in line
    assert "Traceback" not in output
    assert list(IndexEntry.objects.values()) == before


def test_a_model_that_was_changed_stops_the_worker_and_touches_nothing(start_worker):
    save(0)
    jobs.index_due("product")
    save(1)
    before = list(IndexEntry.objects.values())
    worker = start_worker(CLIP_SEARCH_TEST_ENCODER="tests.doubles.encoders.OtherEncoder")
    code, output = ended(worker)
    assert code == 1
    assert "clip_rebuild product" in output.strip().splitlines()[-1]
    assert list(IndexEntry.objects.values()) == before


# Other ways to run one.


def test_rq_s_own_forking_worker_is_right_too(start_worker, counts):
    for number in range(10):
        save(number)
    json = "rq.serializers.JSONSerializer"
    worker = start_worker("--burst", "--worker-class", "rq.Worker", "--serializer", json)
    assert ended(worker)[0] == 0
    assert all_indexed()
    assert_in_step(10)
    assert set(embedded(counts, "image").values()) == {1}


def test_jobs_that_are_pickled_are_read_too(start_worker, settings):
    pickle = "rq.serializers.DefaultSerializer"
    settings.RQ_QUEUES = {"default": settings.RQ_QUEUES["default"] | {"SERIALIZER": pickle}}
    save(0)
    worker = start_worker("--burst", CLIP_SEARCH_TEST_SERIALIZER=pickle)
    assert ended(worker)[0] == 0
    assert all_indexed()


def test_a_pool_of_workers_reads_json_jobs(start_worker, counts):
    for number in range(10):
        save(number)
    pool = start_worker("--num-workers", "2", "--burst", command="rqworker-pool")
    assert ended(pool)[0] == 0
    assert all_indexed()
    assert_in_step(10)
    assert set(embedded(counts, "image").values()) == {1}
