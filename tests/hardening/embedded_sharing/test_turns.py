"""Several processes share a folder: nothing is lost, each gets its turn, a killed one does no harm."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from clip_search.exceptions import StoreBusy
from clip_search.stores.embedded.store import EmbeddedStore
from tests.conftest import PATIENCE, wait_until
from tests.processes.sharing import BATCH, COLLECTION
from tests.unit.store_contract.points import product

from .processes import SECONDS, first_line, in_thread, lines, process, waiters

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.timing


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
