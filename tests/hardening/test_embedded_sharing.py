"""Several processes share a folder: nothing is lost, each gets its turn, a killed one does no harm."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clip_search.exceptions import CollectionMissing, SetupError, StoreBusy, StoreFull, StoreUnavailable
from clip_search.stores.base import Schema
from clip_search.stores.embedded import disk, locks, sharing
from clip_search.stores.embedded.store import EmbeddedStore
from tests.conftest import PATIENCE, ROOT, wait_until
from tests.processes.sharing import BATCH, COLLECTION
from tests.unit.store_contract.points import DIMENSION, product

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.timing

SECONDS = float(os.environ.get("CLIP_SEARCH_TEST_SHARING_SECONDS", "3"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    EmbeddedStore(tmp_path).create(COLLECTION, Schema(dimension=DIMENSION))
    return tmp_path


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run `tests.processes.sharing` in a process of its own, that is gone afterwards."""
    command = [sys.executable, "-m", "tests.processes.sharing", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def lines(running: subprocess.Popen[str]) -> list[Any]:
    out, _ = running.communicate(timeout=SECONDS + PATIENCE)
    assert running.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def first_line(running: subprocess.Popen[str]) -> Any:
    assert running.stdout is not None
    return json.loads(running.stdout.readline())


def written(folder: Path) -> set[str]:
    return {point.stamp.product_id for point in EmbeddedStore(folder).scroll(COLLECTION, limit=10**6)}


@pytest.mark.parametrize("how", ["write", "keep"])
def test_two_write_while_one_searches(folder: Path, how: str) -> None:
    with (
        process("write", folder, SECONDS, 0) as one,
        process(how, folder, SECONDS, 10**6) as two,
        process("search", folder, SECONDS) as searcher,
    ):
        ends = lines(one)[-1], lines(two)[-1]
        (seconds,) = lines(searcher)
    expected = [*range(ends[0]), *range(10**6, ends[1])]
    assert written(folder) == {f"p-{number}" for number in expected}
    batches = len(expected) / BATCH
    assert len(seconds) > batches / 20  # it had its turns


@pytest.mark.parametrize("how", ["write", "keep"])
@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_a_killed_writer_loses_nothing_that_it_acknowledged(folder: Path, kills: int, how: str) -> None:
    rng = random.Random(kills)
    acknowledged: set[str] = set()
    for first in range(0, kills * 10**6, 10**6):
        with process(how, folder, 60, first) as writer:
            end = first_line(writer)
            threading.Timer(rng.uniform(0.05, 0.4), writer.kill).start()
            assert writer.stdout is not None
            for line in writer.stdout:
                end = json.loads(line) if line.endswith("\n") else end
        acknowledged |= {f"p-{number}" for number in range(first, end)}
        found = written(folder)
        assert acknowledged <= found
        assert len(found) <= len(acknowledged) + BATCH * (first // 10**6 + 1)


def test_who_waits_too_long_is_told(folder: Path) -> None:
    impatient = EmbeddedStore(folder, lock_timeout=0.2)
    with process("hold", folder, 60) as holder:
        assert first_line(holder) == "held"
        with pytest.raises(StoreBusy):
            impatient.count(COLLECTION)
        holder.kill()
        holder.wait(PATIENCE)
        assert EmbeddedStore(folder).count(COLLECTION) == 0


def test_who_waits_gets_in(folder: Path) -> None:
    with process("hold", folder, 0.5) as holder:
        assert first_line(holder) == "held"
        assert EmbeddedStore(folder).count(COLLECTION) == 0


def test_who_gave_up_keeps_no_lock(folder: Path) -> None:
    store, impatient = EmbeddedStore(folder), EmbeddedStore(folder, lock_timeout=0.05)
    with store.session(COLLECTION):
        for _ in range(3):
            with in_thread(lambda: impatient.count(COLLECTION)) as outcome:
                pass
            assert isinstance(outcome[0], StoreBusy)
    store.close()
    assert EmbeddedStore(folder).count(COLLECTION) == 0
    assert wait_until(lambda: not waiters())


def test_who_is_broken_off_while_waiting_keeps_no_lock(folder: Path) -> None:
    def break_off(*args: object) -> None:
        raise ZeroDivisionError

    before = signal.signal(signal.SIGALRM, break_off)
    store = EmbeddedStore(folder)
    with process("hold", folder, 60) as holder:
        assert first_line(holder) == "held"
        try:
            with pytest.raises(ZeroDivisionError):
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                store.count(COLLECTION)
        finally:
            signal.signal(signal.SIGALRM, before)
        holder.kill()
        holder.wait(PATIENCE)
        assert EmbeddedStore(folder).count(COLLECTION) == store.count(COLLECTION) == 0


def waiters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "clip_search-lock"]


@contextmanager
def in_thread(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """Call a function in a thread while the block runs. The list holds its result or error afterwards."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(PATIENCE)


def test_threads_take_turns(folder: Path) -> None:
    store = EmbeddedStore(folder)
    hold = store.session(COLLECTION)
    hold.__enter__()
    with in_thread(lambda: store.count(COLLECTION)) as outcome:
        store.put(COLLECTION, [product(1)])
        time.sleep(0.1)
        store.put(COLLECTION, [product(2)])
        assert outcome == []
        hold.__exit__(None, None, None)
    assert outcome == [2]


# Kept open.


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
        assert not is_free(folder)
    assert is_free(folder)
    store.put(COLLECTION, [product(4)])
    assert is_free(folder)
    assert store.count(COLLECTION) == 5


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


# Errors.


def test_an_error_in_a_session_lets_go(folder: Path) -> None:
    store = EmbeddedStore(folder)
    with pytest.raises(FileNotFoundError), store.session(COLLECTION):
        raise FileNotFoundError
    assert EmbeddedStore(folder).count(COLLECTION) == 0


def test_an_error_of_the_engine_lets_go(folder: Path) -> None:
    store = EmbeddedStore(folder)
    with pytest.raises(SetupError):
        store.facet(COLLECTION, "not-indexed")
    assert EmbeddedStore(folder).count(COLLECTION) == 0


def test_a_full_disk_is_told_before_anything_is_opened(folder: Path) -> None:
    store = EmbeddedStore(folder, min_free_bytes=2**62)
    for call in (
        lambda: store.count(COLLECTION),
        lambda: store.put(COLLECTION, [product(1)]),
        lambda: store.create("other", Schema(dimension=DIMENSION)),
    ):
        with pytest.raises(StoreFull, match="free"):
            call()
    assert EmbeddedStore(folder).count(COLLECTION) == 0


def test_a_full_disk_is_told_in_a_session(folder: Path) -> None:
    store = EmbeddedStore(folder)
    with store.session(COLLECTION):
        store._disk = disk.Disk(folder, 2**62)
        with pytest.raises(StoreFull):
            store.put(COLLECTION, [product(1)])


def test_many_create_at_once(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "new")
    with (
        in_thread(lambda: store.create(COLLECTION, Schema(dimension=DIMENSION))) as one,
        in_thread(lambda: store.create(COLLECTION, Schema(dimension=DIMENSION))) as two,
    ):
        pass
    assert one == two == [None]
    store.put(COLLECTION, [product(1)])
    assert store.count(COLLECTION) == 1


def test_what_a_killed_process_was_making_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / f".{COLLECTION}.making" / "segments"
    half.mkdir(parents=True)
    store = EmbeddedStore(tmp_path)
    assert not store.exists(COLLECTION)
    store.create(COLLECTION, Schema(dimension=DIMENSION))
    assert store.count(COLLECTION) == 0
    assert not half.parent.exists()


def test_destroyed_while_waiting(folder: Path) -> None:
    store = EmbeddedStore(folder)
    lock = locks.acquire(folder / f"{COLLECTION}.lock", PATIENCE)
    with in_thread(lambda: store.count(COLLECTION)) as outcome:
        while not waiters():
            time.sleep(0.01)
        (folder / COLLECTION).rename(folder / "gone")
        locks.release(lock)
    assert isinstance(outcome[0], CollectionMissing)


def test_a_broken_folder_says_so(folder: Path) -> None:
    for file in (folder / COLLECTION / "segments").rglob("*"):
        if file.is_file():
            file.write_bytes(b"garbage")
    with pytest.raises(StoreUnavailable, match="failed"):
        EmbeddedStore(folder).count(COLLECTION)


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="QDRANT"):
        EmbeddedStore(tmp_path / "file").create(COLLECTION, Schema(dimension=DIMENSION))


@pytest.mark.parametrize("name", ["../other", "", ".hidden", "a/b", "a b", "x\n"])
def test_a_name_that_is_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SetupError, match="folder"):
        EmbeddedStore(tmp_path).exists(name)


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_edge", None)
    with pytest.raises(SetupError, match=r"django-clip-search\[embedded\]"):
        EmbeddedStore(tmp_path).create(COLLECTION, Schema(dimension=DIMENSION))


def test_options_for_servers_are_ignored(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.create(
        COLLECTION, Schema(dimension=DIMENSION, options={"shard_number": 2, "on_disk_payload": False})
    )
    assert store.count(COLLECTION) == 0
