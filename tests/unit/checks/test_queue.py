"""The checks of the queue."""

from __future__ import annotations

import pytest

from clip_search import checks
from clip_search.checks.queue import WORKER
from clip_search.documents.registry import registry
from clip_search.worker import EmbeddingWorker

from .actions import GOOD, ids


class OwnWorker(EmbeddingWorker):
    """A host's worker that extends ours."""


@pytest.fixture
def said_of_queue(settings):
    """Return a function that gives the numbers said about a queue of this configuration."""

    def say(queue: str | None = "default", **of_queue: object) -> list[str]:
        settings.CLIP_SEARCH = GOOD | {"QUEUE": queue}
        settings.RQ_QUEUES = {
            "default": {"HOST": "x", "SERIALIZER": "rq.serializers.JSONSerializer"} | of_queue
        }
        return ids(checks.check_queue())

    return say


def test_nothing_is_said_of_a_good_queue_nor_of_none(said_of_queue):
    assert said_of_queue() == ["W006"]  # the second database of the tests is without WAL
    assert said_of_queue(None) == []


def test_e014_queue_missing(said_of_queue, settings):
    assert said_of_queue("slow") == ["E014"]
    del settings.RQ_QUEUES
    assert ids(checks.check_queue()) == ["E014"]


@pytest.mark.parametrize(
    "entry",
    ["redis://localhost", None, 5, ["localhost"]],
)
def test_e014_entry_that_is_no_dict(settings, entry):
    settings.CLIP_SEARCH = GOOD | {"QUEUE": "default"}
    settings.RQ_QUEUES = {"default": entry}
    assert ids(checks.check_queue()) == ["E014"]
    settings.RQ_QUEUES = entry
    assert ids(checks.check_queue()) == ["E014"]


def test_e015_django_rq_not_installed(said_of_queue, settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_rq"]
    assert "E015" in said_of_queue()


@pytest.mark.parametrize("worker", [None, "rq.Worker", "no.Such", int])
def test_w004_forking_worker(said_of_queue, settings, worker):
    settings.RQ = {"WORKER_CLASS": worker} if worker else {}
    assert "W004" in said_of_queue()
    for fine in (WORKER, "tests.unit.checks.test_queue.OwnWorker", EmbeddingWorker):
        settings.RQ = {"WORKER_CLASS": fine}
        assert "W004" not in said_of_queue()


@pytest.mark.parametrize("name", ["rq.serializers.DefaultSerializer", "rq.serializers.PickleSerializer"])
def test_w005_pickle(said_of_queue, settings, name):
    assert "W005" in said_of_queue(SERIALIZER=name)
    settings.RQ_QUEUES = {"default": {}}
    assert "W005" in ids(checks.check_queue())
    from rq.serializers import DefaultSerializer, JSONSerializer

    assert "W005" in said_of_queue(SERIALIZER=DefaultSerializer)
    assert "W005" not in said_of_queue(SERIALIZER=JSONSerializer)


SQLITE = {"ENGINE": "django.db.backends.sqlite3"}


WAL = {"init_command": "PRAGMA journal_mode = WAL;"}


@pytest.mark.parametrize(
    ("database", "numbers"),
    [
        (SQLITE, ["W006"]),
        (SQLITE | {"OPTIONS": WAL}, ["W006"]),
        (SQLITE | {"OPTIONS": {"transaction_mode": "IMMEDIATE"}}, ["W006"]),
        (SQLITE | {"OPTIONS": WAL | {"transaction_mode": "immediate"}}, []),
        ({"ENGINE": "django.db.backends.postgresql"}, []),
    ],
)
@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_w006_sqlite(said_of_queue, settings, monkeypatch, database, numbers):
    monkeypatch.setattr(registry, "documents", {})
    settings.DATABASES = {"default": database}
    assert said_of_queue() == numbers
