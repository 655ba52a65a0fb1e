"""Fixtures for the tests of what the server store sends and how it reads answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from clip_search.stores.server import ServerStore

from .stub import Stub


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def store(stub: Stub) -> Iterator[ServerStore]:
    store = ServerStore(url=stub.url, timeout=60)
    yield store
    store.close()
