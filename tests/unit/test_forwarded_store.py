"""A store whose methods another process, here a thread, calls."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import pytest

from clip_search.exceptions import CollectionMissing, StoreUnavailable
from clip_search.stores.base import Schema, Store
from clip_search.stores.forwarding import forwarded, serve
from clip_search.testing import MemoryStore

from .store_contract.points import DIMENSION, product

Ends = tuple[Store, MemoryStore, threading.Thread]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Return the forwarded store, the store itself, and the thread that serves it."""
    calls, served = multiprocessing.Pipe()
    store = MemoryStore()
    thread = threading.Thread(target=serve, args=(store, served))
    thread.start()
    yield forwarded(calls), store, thread
    calls.close()
    thread.join(30)
    assert not thread.is_alive()


def test_calls_reach_the_store_and_answers_come_back(ends: Ends) -> None:
    store, itself, _ = ends
    store.create("shop", Schema(dimension=DIMENSION))
    with store.keep_open(), store.session("shop"):
        store.put("shop", [product(1)])
    assert itself.count("shop") == store.count("shop") == 1
    (point,) = store.get("shop", [product(1).id], vectors=True).values()
    assert point.stamp == product(1).stamp
    assert point.vectors["text"].shape == (DIMENSION,)


def test_errors_of_the_store_are_raised(ends: Ends) -> None:
    store, _, _ = ends
    with pytest.raises(CollectionMissing):
        store.put("gone", [product(1)])
    assert store.exists("gone") is False


def test_without_the_serving_process_the_store_is_unavailable() -> None:
    calls, served = multiprocessing.Pipe()
    served.close()
    with pytest.raises(StoreUnavailable):
        forwarded(calls).exists("shop")


@pytest.mark.parametrize("answer", [ValueError("a bug"), lambda: None], ids=["an error", "no data"])
def test_what_the_store_should_not_do_is_raised_where_it_was_called(ends: Ends, answer: object) -> None:
    store, itself, _ = ends

    def exists(collection: str) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    itself.exists = exists  # type: ignore[assignment, method-assign]
    with pytest.raises((ValueError, TypeError), match=r"a bug|exists\(\) cannot send"):
        store.exists("shop")
    assert store.names() == []
