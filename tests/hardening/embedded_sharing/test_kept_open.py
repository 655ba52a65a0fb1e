"""A collection is kept open until another process wants it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from clip_search.exceptions import CollectionMissing, StoreUnavailable
from clip_search.stores.base import Schema
from clip_search.stores.embedded import locks, sharing
from clip_search.stores.embedded.store import EmbeddedStore
from tests.conftest import PATIENCE, wait_until
from tests.processes.sharing import COLLECTION
from tests.unit.store_contract.points import DIMENSION, product

from .processes import first_line, lines, process

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.timing


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the collections that were opened, one for each time."""
    found: list[str] = []
    load = EmbeddedStore._load
    monkeypatch.setattr(EmbeddedStore, "_load", lambda self, name: (found.append(name), load(self, name))[1])
    return found


def is_free(folder: Path) -> bool:
    return not locks.is_locked(folder / f"{COLLECTION}.lock")


def test_what_nobody_else_wants_stays_open(folder: Path, loads: list[str]) -> None:
    store = EmbeddedStore(folder)
    for _ in range(3):
        assert store.count(COLLECTION) == 0
    assert loads == [COLLECTION]
    assert not is_free(folder)
    store.close()
    assert is_free(folder)


def test_what_was_written_to_is_closed_at_once(folder: Path, loads: list[str]) -> None:
    store = EmbeddedStore(folder)
    assert store.count(COLLECTION) == 0
    store.put(COLLECTION, [product(1)])
    assert is_free(folder)
    with store.session(COLLECTION):
        assert store.count(COLLECTION) == 1
        store.put(COLLECTION, [product(2)])
    assert not is_free(folder)
    assert loads == [COLLECTION, COLLECTION]


def test_what_is_to_be_kept_open_stays_open_though_it_is_written_to(folder: Path, loads: list[str]) -> None:
    store, impatient = EmbeddedStore(folder), EmbeddedStore(folder, lock_timeout=PATIENCE)
    with store.keep_open():
        for number in range(3):
            store.put(COLLECTION, [product(number)])
            assert len(store.scroll(COLLECTION)) == number + 1
        assert loads == [COLLECTION]
        assert impatient.count(COLLECTION) == 3
        impatient.close()
        store.put(COLLECTION, [product(3)])
    assert is_free(folder)
    store.put(COLLECTION, [product(4)])
    assert is_free(folder)
    assert store.count(COLLECTION) == 5


def test_what_others_use_too_is_not_kept_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search would otherwise wait each time until the process notices that another one waits."""
    monkeypatch.setattr(sharing, "CONTENDED_SECONDS", 60)
    store, impatient = EmbeddedStore(folder), EmbeddedStore(folder, lock_timeout=PATIENCE)
    with store.keep_open():
        store.put(COLLECTION, [product(1)])
        assert not is_free(folder)
        assert impatient.count(COLLECTION) == 1
        impatient.close()
        store.put(COLLECTION, [product(2)])
        assert is_free(folder)
        monkeypatch.setattr(sharing, "CONTENDED_SECONDS", 0)
        store.put(COLLECTION, [product(3)])
        assert not is_free(folder)
    assert is_free(folder)


def test_what_another_process_had_open_is_not_kept_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "IDLE_SECONDS", PATIENCE)
    monkeypatch.setattr(sharing, "CONTENDED_SECONDS", PATIENCE)
    searching, store = EmbeddedStore(folder), EmbeddedStore(folder, lock_timeout=PATIENCE)
    assert searching.count(COLLECTION) == 0
    with store.keep_open():
        store.put(COLLECTION, [product(1)])
        assert is_free(folder)


def test_what_is_written_while_kept_open_is_flushed(folder: Path) -> None:
    """So that it survives a power cut: nothing is flushed by closing for as long as a command runs."""
    store = EmbeddedStore(folder)
    with store.keep_open():
        store.put(COLLECTION, [product(1)])
        assert list(folder.glob(f"{COLLECTION}/segments/*/mutable_id_tracker.mappings"))


def test_who_kept_it_open_does_not_wait_for_the_threads_that_use_it(folder: Path) -> None:
    store = EmbeddedStore(folder)
    inside, over = threading.Event(), threading.Event()

    def use() -> None:
        with store.session(COLLECTION):
            inside.set()
            over.wait(PATIENCE)

    with store.keep_open():
        store.put(COLLECTION, [product(1)])
        thread = threading.Thread(target=use)
        thread.start()
        assert inside.wait(PATIENCE)
    assert thread.is_alive()
    assert not is_free(folder)
    over.set()
    thread.join()
    assert is_free(folder)


def test_who_kept_one_open_leaves_open_what_others_search(folder: Path) -> None:
    store = EmbeddedStore(folder)
    store.create("other", Schema(dimension=DIMENSION))
    assert store.count(COLLECTION) == 0
    with store.keep_open():
        store.put("other", [product(1)])
    assert not is_free(folder)
    assert not locks.is_locked(folder / "other.lock")


def test_an_error_closes_what_is_kept_open(folder: Path) -> None:
    store = EmbeddedStore(folder)
    with store.keep_open():
        store.put(COLLECTION, [product(1)])
        with pytest.raises(RuntimeError), store.session(COLLECTION):
            raise RuntimeError
        assert is_free(folder)
        assert store.count(COLLECTION) == 1


def test_what_nobody_uses_is_closed_after_a_while(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "IDLE_SECONDS", 0.05)
    store = EmbeddedStore(folder)
    assert store.count(COLLECTION) == 0
    assert wait_until(lambda: is_free(folder))
    assert store.count(COLLECTION) == 0


def test_what_another_process_wants_is_handed_over(folder: Path, loads: list[str]) -> None:
    impatient = EmbeddedStore(folder, lock_timeout=PATIENCE)
    with process("use", folder, 60) as user:
        assert first_line(user) == 0
        impatient.put(COLLECTION, [product(1)])
        assert loads == [COLLECTION]
        assert user.poll() is None


def test_two_of_one_process_hand_over_too(folder: Path, loads: list[str]) -> None:
    one, two = EmbeddedStore(folder, lock_timeout=PATIENCE), EmbeddedStore(folder, lock_timeout=PATIENCE)
    for number in range(3):
        one.put(COLLECTION, [product(number)])
        assert two.count(COLLECTION) == number + 1
    assert len(loads) == 6


def test_what_is_kept_open_can_be_destroyed_and_made_anew(folder: Path) -> None:
    store = EmbeddedStore(folder)
    store.put(COLLECTION, [product(1)])
    EmbeddedStore(folder, lock_timeout=PATIENCE).destroy(COLLECTION)
    with pytest.raises(CollectionMissing):
        store.count(COLLECTION)
    store.create(COLLECTION, Schema(dimension=DIMENSION))
    assert store.count(COLLECTION) == 0


def test_a_forked_process_opens_its_own(folder: Path) -> None:
    EmbeddedStore(folder).put(COLLECTION, [product(1)])
    with process("fork", folder, 60) as parent:
        assert sorted(lines(parent)) == ["child 2", "parent 2"]


def test_a_folder_that_is_gone_is_let_go(folder: Path) -> None:
    store = EmbeddedStore(folder)
    assert store.count(COLLECTION) == 0
    shutil.rmtree(folder)
    with pytest.raises(StoreUnavailable):
        store.count(COLLECTION)
    assert wait_until(lambda: not closers())


def closers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "clip_search-closer"]
