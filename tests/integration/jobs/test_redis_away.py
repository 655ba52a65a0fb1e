"""Redis does not answer: saves neither fail nor wait."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from django.db import transaction

from clip_search import jobs
from clip_search import queue as queues
from clip_search.models import IndexEntry
from tests.shops.shop.models import Product

from .actions import INDEXED, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sql]


@pytest.fixture
def no_redis(queue, settings):
    """Have Redis refuse connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    point_queue(settings, port)


def point_queue(settings, port: int) -> None:
    settings.RQ_QUEUES = {"default": settings.RQ_QUEUES["default"] | {"HOST": "127.0.0.1", "PORT": port}}


def save(times: int) -> None:
    for number in range(times):
        Product.objects.create(name=f"Mug {number}", sku="M")


def test_with_redis_refusing_no_save_fails_and_one_tries_to_connect(no_redis, connections_to_redis, caplog):
    save(30)
    assert len(connections_to_redis) == 1
    assert IndexEntry.objects.due().count() == 30
    assert [r.levelname for r in caplog.records if "Cannot enqueue" in r.message] == ["WARNING"]


def test_a_redis_that_drops_packets_costs_one_save_a_quarter_of_a_second(
    queue, settings, connections_to_redis, caplog
):
    with socket.socket() as full, socket.socket() as waiting, socket.socket() as more:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (waiting, more):  # the queue of the kernel is full: what comes next gets no answer
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        point_queue(settings, full.getsockname()[1])
        save(11)
    assert connections_to_redis == [(0.25, 0.5)]
    assert "timeout connecting" in caplog.text.lower()
    assert IndexEntry.objects.due().count() == 11


def test_a_redis_that_takes_connections_and_says_nothing_costs_one_save_under_a_second(
    queue, settings, connections_to_redis, caplog
):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(5)
        point_queue(settings, mute.getsockname()[1])
        save(5)
    assert connections_to_redis == [(0.25, 0.5)]
    assert "timeout" in caplog.text.lower()
    assert IndexEntry.objects.due().count() == 5


def test_sentinels_that_are_away_are_each_asked_once(settings, connections_to_redis):
    sentinels = {"SENTINELS": [("127.0.0.1", 1), ("127.0.0.1", 2)], "MASTER_NAME": "shop", "DB": 0}
    settings.RQ_QUEUES = {"default": sentinels}
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}
    save(5)
    assert connections_to_redis == [(0.25, 0.5)] * 2
    assert IndexEntry.objects.due().count() == 5


def test_other_callbacks_of_the_transaction_run_all_the_same(no_redis):
    ran = []
    with transaction.atomic():
        Product.objects.create(name="Mug", sku="M")
        transaction.on_commit(lambda: ran.append(True))
    assert ran == [True]


def test_after_a_while_redis_is_tried_again(queue, settings, monkeypatch):
    now = 0.0
    monkeypatch.setattr(queues, "time", SimpleNamespace(monotonic=lambda: now))
    up = settings.RQ_QUEUES
    point_queue(settings, 1)
    Product.objects.create(name="Mug", sku="1")
    settings.RQ_QUEUES = up
    Product.objects.create(name="Mug", sku="2")
    assert queue.count == 0
    now = queues.PAUSE_AFTER_FAILURE
    Product.objects.create(name="Mug", sku="3")
    assert queue.count == 1
    jobs.index_due("product")
    assert states() == {INDEXED}
    assert IndexEntry.objects.count() == 3
