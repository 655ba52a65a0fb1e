"""The queue and its workers: on a real Valkey, with real workers."""

from __future__ import annotations

import signal

import pytest
from rq import Worker, suspension

from clip_search import __version__
from clip_search.worker import BUSY_SECONDS, IDLE_SECONDS, EmbeddingWorker
from tests.conftest import QUICK, free_port, wait_until

from ..commands.actions import make, run
from .actions import as_json, assert_wrong, wait_for

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
SHORT = [*QUICK, "clip_search.worker.IDLE_SECONDS=2"]


@pytest.fixture
def shop(folder, queue):
    """Three products that are indexed, and a queue. Return the RQ queue."""
    make(3)
    run("clip_reindex")
    return queue


def worker_on(queue) -> EmbeddingWorker:
    worker = EmbeddingWorker([queue], connection=queue.connection)
    worker.register_birth()
    return worker


def test_no_worker_is_no_fault_while_nothing_waits(shop):
    found = as_json()
    assert found["ok"]
    assert found["queue"] == {
        "name": "default",
        "length": 0,
        "is_suspended": False,
        "workers": [],
        "error": "",
    }
    assert "queue default: 0 jobs, 0 workers\n" in run("clip_status")


def test_a_worker_says_what_it_runs(shop):
    worker = worker_on(shop)
    shop.enqueue("nothing")
    said = run("clip_status")
    found = as_json()
    assert found["ok"]
    assert found["queue"]["length"] == 1
    (one,) = found["queue"]["workers"]
    assert (one["name"], one["hostname"], one["pid"]) == (worker.name, worker.hostname, worker.pid)
    assert (one["version"], one["fingerprint"]) == (__version__, "hashing-encoder-1")
    assert "queue default: 1 job, 1 worker\n" in said
    assert f"version {__version__}, model hashing-enco" in said
    worker.register_death()
    assert as_json()["queue"]["workers"] == []


def test_a_worker_of_rq_s_own_class_has_no_version(shop):
    Worker([shop], connection=shop.connection).register_birth()
    (one,) = as_json()["queue"]["workers"]
    assert (one["version"], one["model"], one["fingerprint"]) == ("", "", "")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("clip_search_version", "0.0.9", r"has version 0\.0\.9 \(here: .*\): restart it$"),
        ("clip_search_fingerprint", "another", r"has another CLIP model, .*: restart it$"),
    ],
)
def test_a_worker_of_another_version_or_model_is_named(shop, field, value, sentence):
    worker = worker_on(shop)
    shop.connection.hset(worker.key, field, value)
    found = as_json()
    assert found["ok"]
    (note,) = found["notes"]
    assert note["code"] == "other_worker"
    assert worker.name in note["message"]
    assert note["message"] in run("clip_status")


def test_a_worker_registers_again_when_redis_has_lost_everything(shop):
    worker = worker_on(shop)
    shop.connection.flushall()
    assert as_json()["queue"]["workers"] == []
    worker.heartbeat()
    (one,) = as_json()["queue"]["workers"]
    assert (one["name"], one["version"]) == (worker.name, __version__)
    assert EmbeddingWorker.all_keys(connection=shop.connection) == [worker.key]


def test_a_key_lives_on_for_a_minute_or_five_during_a_job(shop):
    worker = worker_on(shop)
    worker.heartbeat()
    assert 0 < shop.connection.ttl(worker.key) <= IDLE_SECONDS
    worker.heartbeat(660)
    assert IDLE_SECONDS < shop.connection.ttl(worker.key) <= BUSY_SECONDS


def test_a_dead_worker(shop, start_worker):
    """What waits is a fault anyway. The sentence says whether a worker is alive."""
    worker = start_worker(constants=SHORT)
    assert wait_until(lambda: len(as_json()["queue"]["workers"]) == 1)
    worker.send_signal(signal.SIGSTOP)  # or it would index what is pending
    wait_for(1000)
    alive = [problem["message"] for problem in as_json()["problems"]]
    worker.kill()
    worker.wait()
    assert wait_until(lambda: not as_json()["queue"]["workers"])
    assert alive == [] or "1 worker is alive, see its log" in alive[0]
    sentence = (
        r"3 changes of product wait, .*: no worker is alive, start one with `manage.py rqworker default`$"
    )
    found = assert_wrong("pending", sentence)
    assert found["queue"]["workers"] == []


def test_workers_that_are_alive_and_do_not_index(shop):
    worker_on(shop)
    wait_for(1000)
    assert_wrong("pending", "1 worker is alive, see its log$")
    suspension.suspend(shop.connection)
    found = assert_wrong("pending", "the workers are suspended, run `manage.py rqresume`$")
    assert found["queue"]["is_suspended"]


def test_redis_does_not_answer(shop, settings):
    settings.RQ_QUEUES = {"default": settings.RQ_QUEUES["default"] | {"PORT": free_port()}}
    sentence = r"^Redis does not answer for the queue 'default': .* where RQ_QUEUES\['default'\] says\.$"
    found = assert_wrong("queue", sentence)
    assert (found["queue"]["length"], found["queue"]["workers"]) == (None, [])
    wait_for(1000)
    assert_wrong("pending", "the queue cannot be used$")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": None}
    assert [problem["code"] for problem in as_json()["problems"]] == ["pending"]


def test_a_queue_that_the_settings_do_not_have(shop, settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "other"}
    assert_wrong("queue", "RQ_QUEUES has no queue 'other'")
