"""Every store against the contract, and what only one of them has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from clip_search.stores.base import Store
from clip_search.stores.embedded.store import EmbeddedStore
from clip_search.stores.server import ServerStore
from clip_search.testing import MemoryStore
from tests.doubles.qdrant_stub import serving
from tests.unit.store_contract import StoreContract

SERVER = os.environ.get("CLIP_SEARCH_TEST_QDRANT_URL")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: the engine waits for the disk at every index it makes."""
    memory = Path("/dev/shm")  # noqa: S108, the folder made in it is nobody else's
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = MemoryStore()
        yield store
        store.close()


class TestEmbedded(StoreContract):
    @pytest.fixture
    def store(self, folder: Path) -> Store:
        pytest.importorskip("qdrant_edge")
        return EmbeddedStore(folder / "qdrant")


@pytest.fixture(scope="module")
def over_http() -> Iterator[ServerStore]:
    with serving() as stub:
        store = ServerStore(url=stub.url)
        yield store
        store.close()


class TestServerOverHttp(StoreContract):
    """What is between the store and a server, too: requests and answers on the wire."""

    @pytest.fixture
    def store(self, over_http: ServerStore) -> Store:
        for name in over_http.names():
            over_http.destroy(name)
        return over_http


@pytest.mark.skipif(not SERVER, reason="CLIP_SEARCH_TEST_QDRANT_URL is not set")
class TestServer(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = ServerStore(url=SERVER, api_key=os.environ.get("CLIP_SEARCH_TEST_QDRANT_API_KEY"))
        yield store
        store.close()
