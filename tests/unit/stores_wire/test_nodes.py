"""Several nodes, nodes that do not answer in time, and when they are asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from clip_search.conf import Options
from clip_search.exceptions import AccessDenied, ClipSearchError, NoAnswer, SetupError, StoreRefused
from clip_search.stores.base import Query, Schema
from clip_search.stores.nodes import PAUSE_AFTER_TIMEOUT, CircuitBreaker, Node
from clip_search.stores.server import ServerStore
from tests.doubles import qdrant_stub
from tests.unit.store_contract.points import product

from .stub import Answer, Stub, failure, reset, result

pytest.importorskip("qdrant_client")

TIMED_OUT = 504, b"<html>Gateway timeout</html>"
"""What a proxy answers for a server that does not: a timeout for which no test has to wait."""
NOBODY = "http://127.0.0.1:1"
COUNT = result({"count": 7})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("clip_search.stores.nodes.monotonic", clock)
    return clock


@contextmanager
def serving(answer: Answer) -> Iterator[Stub]:
    with Stub() as stub:
        stub.otherwise = answer
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stub
        finally:
            stub.over.set()
            stub.shutdown()
            thread.join()


@pytest.fixture
def first() -> Iterator[Stub]:
    with serving(COUNT) as stub:
        yield stub


@pytest.fixture
def second() -> Iterator[Stub]:
    with serving(COUNT) as stub:
        yield stub


@pytest.fixture
def open_store() -> Iterator[Callable[..., ServerStore]]:
    """Return a function that opens a store for some addresses."""
    stores: list[ServerStore] = []

    def open_store(*urls: str, **options: Any) -> ServerStore:
        url = urls[0] if len(urls) == 1 else list(urls)
        stores.append(ServerStore(**{"url": url, "timeout": 60, "search_timeout": 60} | options))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


# One node.


def test_after_a_timeout_nothing_is_sent_for_a_while(first, open_store, clock):
    store = open_store(first.url)
    first.otherwise = TIMED_OUT
    with pytest.raises(NoAnswer, match="did not answer in time"):
        store.count("shop")
    first.otherwise = COUNT
    for passed in (0, PAUSE_AFTER_TIMEOUT - 0.1):
        clock.now = 100 + passed
        with pytest.raises(NoAnswer, match=r"It is asked again in \d s.*QDRANT"):
            store.count("shop")
    assert len(first.asked) == 1
    clock.now = 100 + PAUSE_AFTER_TIMEOUT
    assert store.count("shop") == store.count("shop") == 7


def test_a_try_that_times_out_begins_another_pause(first, open_store, clock):
    store = open_store(first.url)
    first.otherwise = TIMED_OUT
    for tries in (1, 2, 3):
        for _ in range(3):
            with pytest.raises(NoAnswer):
                store.count("shop")
        assert len(first.asked) == tries
        clock.pass_by(PAUSE_AFTER_TIMEOUT)


@pytest.mark.parametrize(
    "answer", [failure(500, "disk on fire"), failure(404, "Not found: `shop`"), (200, {})]
)
def test_any_answer_ends_the_pause(first, open_store, clock, answer):
    store = open_store(first.url)
    first.otherwise = TIMED_OUT
    with pytest.raises(NoAnswer):
        store.count("shop")
    clock.pass_by(PAUSE_AFTER_TIMEOUT)
    first.otherwise = answer
    for _ in range(3):
        with pytest.raises(ClipSearchError) as caught:
            store.count("shop")
        assert not isinstance(caught.value, NoAnswer)
    assert len(first.asked) == 4


def test_a_refused_connection_begins_no_pause(open_store, clock):
    store = open_store(NOBODY)
    for _ in range(3):
        with pytest.raises(NoAnswer, match="ConnectError"):
            store.count("shop")


def test_one_tries_while_the_others_fail_at_once(clock):
    breaker = CircuitBreaker()
    with breaker.admission(), breaker.admission():  # at first, as many as ask
        breaker.open()
    clock.pass_by(PAUSE_AFTER_TIMEOUT)
    with breaker.admission():
        for _ in range(3):
            with pytest.raises(NoAnswer, match="Another request is trying it now"), breaker.admission():
                pass
    with breaker.admission():  # what the first one tried was interrupted
        breaker.close()
        with breaker.admission():
            pass


def test_a_late_timeout_lets_no_second_one_try(clock):
    breaker = CircuitBreaker()
    breaker.open()
    clock.pass_by(PAUSE_AFTER_TIMEOUT)
    with breaker.admission():
        breaker.open()  # of a request that was sent before the pause
        clock.pass_by(PAUSE_AFTER_TIMEOUT)
        with pytest.raises(NoAnswer), breaker.admission():
            pass


# Several nodes.


def test_the_next_node_is_used_at_once_and_stays_in_use(first, second, open_store, clock, caplog):
    store = open_store(NOBODY, first.url, second.url)
    for _ in range(3):
        assert store.count("shop") == 7
    assert (len(first.asked), len(second.asked)) == (3, 0)
    (line,) = caplog.messages
    assert line == f"Going on with another node of Qdrant node={first.url}"


@pytest.mark.parametrize("answer", [TIMED_OUT, (502, b""), (503, b"<html>"), reset])
def test_a_node_that_does_not_answer_is_left_and_used_again_when_the_other_fails(
    first, second, open_store, clock, answer
):
    store = open_store(first.url, second.url)
    first.otherwise = answer
    assert store.count("shop") == store.count("shop") == 7
    assert (len(first.asked), len(second.asked)) == (1, 2)
    first.otherwise, second.otherwise = COUNT, answer
    clock.pass_by(PAUSE_AFTER_TIMEOUT)
    assert store.count("shop") == store.count("shop") == 7
    assert (len(first.asked), len(second.asked)) == (3, 3)


def test_a_node_is_tried_again_only_after_the_pause(first, second, open_store, clock):
    store = open_store(first.url, second.url)
    first.otherwise = TIMED_OUT
    assert store.count("shop") == 7
    first.otherwise, second.otherwise = COUNT, TIMED_OUT
    for _ in range(2):
        with pytest.raises(NoAnswer, match="in time"):
            store.count("shop")
    assert (len(first.asked), len(second.asked)) == (1, 2)
    clock.pass_by(PAUSE_AFTER_TIMEOUT)
    second.otherwise = COUNT
    assert store.count("shop") == 7
    assert (len(first.asked), len(second.asked)) == (1, 3)


def test_a_write_that_timed_out_is_repeated_on_the_next_node(first, second, open_store):
    store = open_store(first.url, second.url)
    first.otherwise, second.otherwise = TIMED_OUT, result([])
    store.put("shop", [product(1, revision=3)])
    store.drop("shop", [product(2, revision=4)])
    path = "POST", "/collections/shop/points/batch"
    (lost,), (put, drop) = first.bodies(*path), second.bodies(*path)
    assert put == lost
    assert put["operations"][0]["upsert"]["update_filter"]["must"][0]["range"]["lt"] == 3
    assert drop["operations"][0]["upsert"]["update_filter"]["must"][0]["range"]["lte"] == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failure(500, "No space left on device"), StoreRefused),
        (failure(503, "The shard is not available"), StoreRefused),
        ((401, b"Invalid API key"), AccessDenied),
        (failure(400, "Wrong input"), SetupError),
    ],
)
def test_an_error_is_an_answer_and_no_other_node_is_asked(first, second, open_store, answer, error):
    first.otherwise = answer
    with pytest.raises(error):
        open_store(first.url, second.url).count("shop")
    assert second.asked == []


def test_a_collection_is_missing_only_if_no_node_has_it(first, second, open_store):
    """A node that was just started may not know yet what was created while it was down."""
    first.otherwise = result({"exists": False})
    second.otherwise = result({"exists": True})
    store = open_store(first.url, NOBODY, second.url)
    assert store.exists("shop")
    second.otherwise = result({"exists": False})
    assert not store.exists("shop")


def test_no_node_answers(first, second, open_store, clock):
    first.otherwise = second.otherwise = TIMED_OUT
    store = open_store(first.url, NOBODY, second.url)
    for _ in range(3):
        with pytest.raises(NoAnswer, match="QDRANT"):
            store.count("shop")
    assert (len(first.asked), len(second.asked)) == (1, 1)


# Options.


def test_no_node_at_all():
    with pytest.raises(SetupError, match=r'"url".*is empty'):
        ServerStore(url=[]).count("shop")


@pytest.mark.parametrize("name", ["timeout", "search_timeout"])
@pytest.mark.parametrize("seconds", ["10", 0, -1, True, float("inf"), float("nan"), []])
def test_a_timeout_that_is_none(name, seconds):
    with pytest.raises(SetupError, match=rf'\["{name}"\] is not a number of seconds.*above 0'):
        ServerStore(url=NOBODY, **{name: seconds}).count("shop")


@pytest.mark.parametrize(
    ("options", "usual", "searching"),
    [
        ({}, 10, 3),
        ({"timeout": 2}, 2, 2),
        ({"timeout": None, "search_timeout": None}, 10, 3),
        ({"search_timeout": 20}, 10, 20),
        ({"timeout": 60, "search_timeout": 0.5}, 60, 1),
    ],
)
@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_a_search_has_less_time(options, usual, searching, prefer_grpc):
    node = Node(Options({"url": NOBODY, "prefer_grpc": prefer_grpc, **options}))
    clients = node.client(), node.client(search=True)
    assert [client._client._timeout for client in clients] == [usual, searching]
    assert [c._client.openapi_client.client._client.timeout.read for c in clients] == [usual, searching]
    node.close()


def test_what_a_shopper_waits_for_has_the_time_of_a_search(first, open_store, monkeypatch):
    used = []
    client = Node.client
    monkeypatch.setattr(Node, "client", lambda node, search=False: used.append(search) or client(node))
    store = open_store(first.url)
    first.otherwise = result({"points": [], "hits": [], "count": 7})
    store.count("shop")
    store.facet("shop", "colour")
    store.values("shop", ["colour"])
    first.otherwise = result([{"points": []}])
    store.query("shop", Query())
    store.rank("shop", [Query()])
    first.otherwise = result([])
    store.get_for_search("shop", product(1).id)
    assert used == [True] * 6
    store.put("shop", [product(1)])
    store.get("shop", [product(1).id])
    assert set(used[6:]) == {False}


# Strict mode.


def test_counts_are_approximate_where_exact_ones_are_refused(caplog):
    from qdrant_client import models

    with qdrant_stub.serving() as stub, closing(ServerStore(url=stub.url)) as store:
        for name in ("shop", "other"):
            store.create(name, Schema(dimension=16, filters={"category": "keyword"}))
            store.put(name, [product(number, payload={"category": "mugs"}) for number in range(3)])
        exactly = store.count("shop"), store.facet("shop", "category")
        assert exactly[0] == 3
        assert exactly[1]
        no_exact = models.StrictModeConfig(enabled=True, search_allow_exact=False)
        stub.client.strict |= {"shop": no_exact, "other": no_exact}
        before = stub.requests
        for _ in range(2):
            assert (store.count("shop"), store.facet("shop", "category")) == exactly
        assert stub.requests == before + 5  # one was refused
        assert [store.counts_exactly(name) for name in ("shop", "other")] == [False, True]
        assert store.count("other") == 3
    lines = [line for line in caplog.messages if "approximate" in line]
    assert [line.rpartition("=")[2] for line in lines] == ["shop", "other"]
