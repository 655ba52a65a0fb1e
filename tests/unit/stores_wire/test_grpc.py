"""Errors over gRPC, and imports."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clip_search.exceptions import CollectionMissing, ModelChanged, SetupError, StoreUnavailable
from clip_search.stores.server import ServerStore

pytest.importorskip("qdrant_client")


@pytest.mark.parametrize(
    ("code", "said", "error"),
    [
        ("NOT_FOUND", "Not found: Collection `shop` doesn't exist!", CollectionMissing),
        ("UNAUTHENTICATED", "Must provide an API key", SetupError),
        ("PERMISSION_DENIED", "Forbidden", SetupError),
        ("INVALID_ARGUMENT", "Vector dimension error: expected dim: 512, got 768", ModelChanged),
        ("RESOURCE_EXHAUSTED", "slow down", StoreUnavailable),
        ("INTERNAL", "disk on fire", StoreUnavailable),
    ],
)
def test_grpc_errors(code: str, said: str, error: type[Exception]) -> None:
    grpc = pytest.importorskip("grpc")

    class Refusing(grpc.GenericRpcHandler):  # type: ignore[misc,name-defined]
        def service(self, call: Any) -> Any:
            status = grpc.StatusCode[code]
            return grpc.unary_unary_rpc_method_handler(lambda request, context: context.abort(status, said))

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Refusing()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    store = ServerStore(host="127.0.0.1", grpc_port=port, prefer_grpc=True, timeout=60)
    with pytest.raises(error) as caught:
        store.count("shop")
    assert type(caught.value) is error
    store.close()
    server.stop(None).wait()


def test_importing_the_stores_loads_no_client() -> None:
    code = (
        "import sys, clip_search.stores.server, clip_search.stores.embedded.store;"
        "sys.exit(any(name in sys.modules for name in ('qdrant_client', 'qdrant_edge', 'grpc', 'numpy')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
