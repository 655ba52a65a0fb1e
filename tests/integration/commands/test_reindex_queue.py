"""clip_reindex --queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_search.encoders import get_encoder
from clip_search.management.commands import clip_reindex
from clip_search.stores import get_store

from .actions import State, collection, complain, make, run, states

pytestmark = pytest.mark.django_db


def test_queue_needs_a_queue(settings):
    assert 'CLIP_SEARCH["QUEUE"] is None' in complain("clip_reindex", "product", "--queue")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "fast"}
    assert complain("clip_reindex", "product", "--queue") == (
        "--queue: RQ_QUEUES has no queue 'fast'. It has: default."
    )


@pytest.mark.django_db(transaction=True)
def test_queue_says_when_redis_is_away(settings, queue):
    make(1)
    settings.RQ_QUEUES = {"default": settings.RQ_QUEUES["default"] | {"PORT": 1}}
    assert "Redis does not answer" in complain("clip_reindex", "product", "--queue")


@pytest.mark.django_db(transaction=True)
def test_queue_gives_up_where_no_worker_works(queue, monkeypatch):
    monkeypatch.setattr(clip_reindex, "SECONDS_WITHOUT_PROGRESS", 0.3)
    make(2)
    said = complain("clip_reindex", "product", "--queue")
    assert "2 products wait" in said
    assert "Run `manage.py clip_status`" in said
    assert queue.count == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_queue_hands_the_work_to_a_worker(shared, start_process):
    made = make(30, images=30)
    worker = start_process("tests/manage.py", "rqworker", "default", "--verbosity", "0", **shared)
    said = run("clip_reindex", "product", "--queue")
    assert "product: workers indexed 30 products" in said
    assert states() == {State.INDEXED: 30}
    assert get_store().count(collection()) == 30
    assert get_encoder().take() == (0, 0)
    Path(made[0].images.get().original.path).write_bytes(b"nothing")
    assert complain("clip_reindex", "product", "--queue").endswith("1 of product failed")
    assert worker.poll() is None
