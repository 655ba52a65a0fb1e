"""Errors over gRPC, and imports."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from clip_search.conf import Options
from clip_search.exceptions import (
    AccessDenied,
    CollectionMismatch,
    CollectionMissing,
    NoAnswer,
    RequestRefused,
    StoreRefused,
    StoreUnavailable,
)
from clip_search.stores.nodes import Node
from clip_search.stores.server import ServerStore

from .stub import Stub, failure

pytest.importorskip("qdrant_client")


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Return a function that starts a server that answers with `handle`, and returns its port."""
    grpc = pytest.importorskip("grpc")
    servers = []

    def serve(handle: Callable[[Any], bytes], address: str = "127.0.0.1:0") -> int:
        class Handler(grpc.GenericRpcHandler):  # type: ignore[misc,name-defined]
            def service(self, call: Any) -> Any:
                return grpc.unary_unary_rpc_method_handler(lambda request, context: handle(context))

        server = grpc.server(ThreadPoolExecutor(4), handlers=[Handler()])
        port = int(server.add_insecure_port(address))
        server.start()
        servers.append(server)
        return port

    yield serve
    for server in servers:
        server.stop(None).wait()


def count(context: Any) -> bytes:
    from qdrant_client import grpc

    return bytes(grpc.CountResponse(result=grpc.CountResult(count=7)).SerializeToString())


@contextmanager
def over_grpc(port: int, *hosts: str, **options: Any) -> Iterator[ServerStore]:
    urls = [f"http://{host}:1" for host in hosts or ["127.0.0.1"]]
    options = {"timeout": 60, "search_timeout": 60} | options
    with closing(ServerStore(url=urls, grpc_port=port, prefer_grpc=True, **options)) as store:
        yield store


@pytest.mark.parametrize(
    ("code", "status", "said", "error"),
    [
        ("NOT_FOUND", 404, "Not found: Collection `shop` doesn't exist!", CollectionMissing),
        ("UNAUTHENTICATED", 401, "Must provide an API key", AccessDenied),
        ("PERMISSION_DENIED", 403, "Forbidden: Global manage access is required", AccessDenied),
        ("INVALID_ARGUMENT", 400, "Vector dimension error: expected dim: 512, got 768", CollectionMismatch),
        ("ALREADY_EXISTS", 409, "Collection `shop` already exists!", RequestRefused),
        ("RESOURCE_EXHAUSTED", 429, "slow down", StoreUnavailable),
        ("INTERNAL", 500, "Service internal error: No space left on device (os error 28)", StoreRefused),
    ],
)
def test_errors_over_grpc_are_those_of_rest(
    stub: Stub, store: ServerStore, serve: Callable[..., int], code: str, status: int, said: str, error: Any
) -> None:
    grpc = pytest.importorskip("grpc")
    port = serve(lambda context: context.abort(grpc.StatusCode[code], said))
    with over_grpc(port) as other, pytest.raises(error) as caught:
        other.count("shop")
    assert type(caught.value) is error
    stub.otherwise = failure(status, said)
    with pytest.raises(error) as as_rest:
        store.count("shop")
    assert str(caught.value) == str(as_rest.value)


@pytest.mark.timing
def test_a_server_that_hangs_is_asked_once(serve: Callable[..., int]) -> None:
    over, asked = threading.Event(), []

    def hang(context: Any) -> bytes:
        asked.append(context)
        over.wait(600)
        return b""

    with over_grpc(serve(hang), search_timeout=1) as store:
        for _ in range(3):
            with pytest.raises(NoAnswer, match="did not answer in time"):
                store.count("shop")
    over.set()
    assert len(asked) == 1


def test_the_next_node_is_used(serve: Callable[..., int]) -> None:
    port = serve(count, "127.0.0.2:0")
    with over_grpc(port, "127.0.0.1", "127.0.0.2") as store:
        assert store.count("shop") == store.count("shop") == 7


@pytest.mark.parametrize("given", [None, {"grpc.keepalive_time_ms": 5000}])
def test_a_server_that_was_restarted_is_used_after_a_second(given: Any) -> None:
    """By its defaults, gRPC waits longer before each connection, up to two minutes."""
    node = Node(Options(url="http://127.0.0.1", prefer_grpc=True, grpc_options=given))
    options = node.client()._client._grpc_options  # type: ignore[attr-defined]
    node.close()
    assert options["grpc.max_reconnect_backoff_ms"] == 1000
    assert (given or {}).items() <= options.items()


def test_importing_the_stores_loads_no_client() -> None:
    code = (
        "import sys, clip_search.stores.server, clip_search.stores.embedded.store;"
        "sys.exit(any(name in sys.modules for name in ('qdrant_client', 'qdrant_edge', 'grpc', 'numpy')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
