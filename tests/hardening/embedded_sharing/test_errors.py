"""After an error nothing stays locked, and what is broken is named."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from clip_search.exceptions import CollectionMissing, SetupError, StoreFull, StoreRefused, StoreUnavailable
from clip_search.stores.base import Schema
from clip_search.stores.embedded import disk, locks
from clip_search.stores.embedded.store import EmbeddedStore
from tests.conftest import PATIENCE
from tests.processes.sharing import COLLECTION
from tests.unit.store_contract.points import DIMENSION, product

from .processes import in_thread, waiters

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.timing


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
    with pytest.raises(StoreRefused, match="failed"):
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
