"""What goes wrong on the way to the server, by error."""

from __future__ import annotations

import socket
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest

from clip_search.exceptions import CollectionMissing, RequestRefused, StoreUnavailable
from clip_search.stores.base import Query, Schema
from clip_search.stores.server import ServerStore
from tests.unit.store_contract.points import product

from .stub import Answer, Stub, failure, reset, result

pytest.importorskip("qdrant_client")

MISSING = failure(404, "Not found: Collection `shop` doesn't exist!")


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.server.over.wait(600)  # type: ignore[attr-defined]


def hurry_back(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(429)
    handler.send_header("Retry-After", "3")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


EVERY_CALL = [
    lambda store: store.create("shop", Schema(dimension=4)),
    lambda store: store.exists("shop"),
    lambda store: store.destroy("shop"),
    lambda store: store.get("shop", [product(1).id]),
    lambda store: store.put("shop", [product(1)]),
    lambda store: store.drop("shop", [product(1)]),
    lambda store: store.purge("shop", [product(1).id]),
    lambda store: store.scroll("shop"),
    lambda store: store.query("shop", Query()),
    lambda store: store.rank("shop", [Query(), Query()]),
    lambda store: store.values("shop", ["price"]),
    lambda store: store.facet("shop", "category"),
    lambda store: store.count("shop"),
]


@pytest.mark.parametrize(
    "answer",
    [
        failure(500, "disk on fire"),
        (502, b"<html>Bad gateway</html>"),
        (503, b""),
        failure(429, "slow down"),
        hurry_back,
        reset,
        (200, b"not json"),
        (200, b'{"result": '),
        (200, b"\xff\xfe\x00 not even text \x80"),
        (200, b"[" * 100_000),
        (400, b""),
        (409, b"<html>Conflict</html>"),
        (422, {"detail": "somebody else's form"}),
        (200, []),
        (200, None),
        (200, {}),
        result(None),
        result("nonsense"),
        failure(404, "Not Found"),
        (404, b"404 page not found"),
    ],
)
def test_every_bad_answer_is_an_unavailable_store(stub: Stub, store: ServerStore, answer: Answer) -> None:
    stub.otherwise = answer
    for call in EVERY_CALL:
        with pytest.raises(StoreUnavailable, match="QDRANT") as caught:
            call(store)
        assert not isinstance(caught.value, CollectionMissing)
        assert caught.value.__cause__ is not None


@pytest.mark.timing
def test_a_silent_server_is_given_up(stub: Stub) -> None:
    stub.otherwise = hang
    with (
        closing(ServerStore(url=stub.url, timeout=1)) as store,
        pytest.raises(StoreUnavailable, match="Timeout"),
    ):
        store.count("shop")


@pytest.mark.parametrize("grpc", [False, True])
def test_nobody_listens(grpc: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        store = ServerStore(url=f"http://127.0.0.1:{port}", grpc_port=port, prefer_grpc=grpc, timeout=1)
        with pytest.raises(StoreUnavailable):
            store.count("shop")
        store.close()


def test_a_missing_collection(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = MISSING
    for call in EVERY_CALL[3:]:
        with pytest.raises(CollectionMissing):
            call(store)


def test_destroying_a_missing_collection_is_no_error(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = MISSING
    store.destroy("shop")


def test_a_proxy_that_finds_a_request_too_large_may_accept_a_smaller_one(
    stub: Stub, store: ServerStore
) -> None:
    stub.answers["POST", "/collections/shop/points/batch"] = 413, b"<html>Request Entity Too Large</html>"
    with pytest.raises(RequestRefused, match=r"proxy.*32 MiB"):
        store.put("shop", [product(1)])
