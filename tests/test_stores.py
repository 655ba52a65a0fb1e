"""Every store against the contract, and what only one of them has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from clip_search.stores.base import Store
from clip_search.stores.embedded import EmbeddedStore
from clip_search.stores.memory import MemoryStore
from clip_search.stores.server import ServerStore

from .store_contract import StoreContract

SERVER = os.environ.get("CLIP_SEARCH_TEST_QDRANT_URL")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: the engine waits for the disk at every index it makes."""
    memory = Path("/dev/shm")  # noqa: S108, the folder made in it is nobody else's
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestEmbedded(StoreContract):
    @pytest.fixture
    def store(self, folder: Path) -> Store:
        pytest.importorskip("qdrant_edge")
        return EmbeddedStore(folder / "qdrant")


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
class TestServerInMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = ServerStore(location=":memory:")
        yield store
        store.close()


@pytest.mark.skipif(not SERVER, reason="CLIP_SEARCH_TEST_QDRANT_URL is not set")
class TestServer(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = ServerStore(url=SERVER, api_key=os.environ.get("CLIP_SEARCH_TEST_QDRANT_API_KEY"))
        yield store
        store.close()
