"""ServerStore against a stub on the wire: what it sends, and what it makes of bad answers."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from clip_search.exceptions import CollectionMissing, ModelChanged, SetupError, StoreUnavailable
from clip_search.stores import get_store
from clip_search.stores.base import INDEXED, Query, Schema
from clip_search.stores.server import ServerStore
from tests.unit.store_contract import product

pytest.importorskip("qdrant_client")

KEY = "very-secret-key"
ROOT = {"title": "qdrant - vector search engine", "version": "1.17.1"}
Answer = tuple[int, Any] | Callable[[BaseHTTPRequestHandler], None]


def result(value: Any) -> tuple[int, Any]:
    return 200, {"result": value, "status": "ok", "time": 0.0}


def failure(status: int, message: str) -> tuple[int, Any]:
    return status, {"status": {"error": message}, "time": 0.0}


MISSING = failure(404, "Not found: Collection `shop` doesn't exist!")


class Stub(ThreadingHTTPServer):
    """Answers by (method, path), or with `otherwise`; remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[tuple[str, str], Answer] = {("GET", "/"): (200, ROOT)}
        self.otherwise: Answer = result(True)
        self.asked: list[tuple[str, str, Any]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def bodies(self, method: str, path: str) -> list[Any]:
        return [body for asked, where, body in self.asked if (asked, where) == (method, path)]


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def answer(self) -> None:
        path = self.path.split("?")[0]
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.command, path, json.loads(body) if body else None))
        answer = self.server.answers.get((self.command, path), self.server.otherwise)
        if callable(answer):
            answer(self)
            return
        status, content = answer
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815, the names http.server looks for

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.server.over.wait(600)  # type: ignore[attr-defined]


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)
    handler.close_connection = True


def hurry_back(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(429)
    handler.send_header("Retry-After", "3")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


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


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("status", [401, 403])
def test_no_access_names_the_setting_and_not_the_key(stub: Stub, status: int) -> None:
    stub.otherwise = status, b"Must provide an API key"
    store = ServerStore(url=stub.url, api_key=KEY)
    with pytest.raises(SetupError, match="api_key") as caught:
        store.count("shop")
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in repr(store) + repr(caught.value)
    store.close()


@pytest.mark.parametrize("key", [KEY + "\n", KEY + "é"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str) -> None:
    with pytest.raises(SetupError, match="api_key") as caught:
        ServerStore(url="http://localhost", api_key=key).count("shop")
    assert KEY not in "".join(traceback.format_exception(caught.value))


def ask_with_key(settings: Any, **options: Any) -> type[BaseException]:
    """Use the store of the settings, which fails, and hold the pages that Django makes of it to secrecy."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": options | {"api_key": SecretKey.value}}
    request = RequestFactory().get("/")
    try:
        get_store().count("shop")
    except Exception as error:
        raised, trace = type(error), error.__traceback__
        reporter = ExceptionReporter(request, raised, error, trace and trace.tb_next)
        pages = reporter.get_traceback_html() + reporter.get_traceback_text()
        assert "get_store" in pages or "count" in pages
        assert KEY not in pages
        return raised
    finally:
        with suppress(RuntimeWarning):  # of gRPC, which closes what never opened
            get_store().close()
    pytest.fail("It did not fail.")


class SecretKey:
    """Holds the key where no frame of a test shows it."""

    value = KEY


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("debug", [True, False])
def test_no_error_page_shows_the_key(
    stub: Stub, settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    settings.DEBUG = debug
    stub.otherwise = failure(500, "broken")
    assert ask_with_key(settings, url=stub.url) is StoreUnavailable
    assert ask_with_key(settings, url="http://127.0.0.1:1") is StoreUnavailable
    assert ask_with_key(settings, url="http://127.0.0.1:1", prefer_grpc=True, timeout=1) is StoreUnavailable
    assert ask_with_key(settings, url="http://[::1") is SetupError
    assert ask_with_key(settings, url=stub.url, nonsense=True) is SetupError
    monkeypatch.setattr(SecretKey, "value", f"{KEY}\n")
    assert ask_with_key(settings, url=stub.url) is SetupError


def test_another_dimension_is_another_model(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = failure(400, "Wrong input: Vector dimension error: expected dim: 512, got 768")
    with pytest.raises(ModelChanged, match=r"got 768.*clip_rebuild"):
        store.put("shop", [product(1)])


def test_what_the_server_refuses_is_said(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = failure(400, "Bad request: No appropriate index for faceting: `colour`")
    with pytest.raises(SetupError, match="colour"):
        store.facet("shop", "colour")


def test_an_address_that_is_none() -> None:
    with pytest.raises(SetupError):
        ServerStore(url="ftp://qdrant").count("shop")


@pytest.mark.parametrize("name", ["port", "grpc_port"])
@pytest.mark.parametrize("port", ["abc", "6333", "", 0, -1, 70000, True, 1.5, []])
def test_a_port_that_is_none(name: str, port: Any) -> None:
    for where in ({"url": "http://127.0.0.1"}, {"host": "127.0.0.1"}):
        with pytest.raises(SetupError, match=rf'\["{name}"\] is not a port number.*1 to 65535'):
            ServerStore(**where, **{name: port}).count("shop")


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://127.0.0.1:70000"},
        {"url": "http://127.0.0.1:abc"},
        {"url": "https://[::1"},
        {"url": 5},
        {"host": 5},
        {"headers": 5},
        {"timeout": "long"},
        {"api_key": 5},
        {"verify": "/nowhere/ca.pem"},
        {"prefix": "a\x00b"},
    ],
)
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.filterwarnings("ignore:.verify=<str>. is deprecated")
def test_options_that_the_client_stumbles_over(options: dict[str, Any]) -> None:
    with pytest.raises((SetupError, StoreUnavailable), match=r"QDRANT|Qdrant"):
        ServerStore(**({} if "host" in options else {"url": "http://127.0.0.1:1"}) | options).count("shop")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://qdrant.example", "https://qdrant.example:443"),
        ("HTTPS://qdrant.example/", "https://qdrant.example:443/"),
        ("https://[::1]/prefix", "https://[::1]:443/prefix"),
        ("https://qdrant.example:6333", "https://qdrant.example:6333"),
        ("http://qdrant.example", "http://qdrant.example:6333"),
    ],
)
def test_https_without_a_port_is_port_443(url: str, address: str) -> None:
    client = ServerStore(url=url)._connected()
    assert client._client.rest_uri == address  # type: ignore[attr-defined]
    client.close()


def test_a_port_beside_the_address_counts() -> None:
    client = ServerStore(url="https://qdrant.example", port=8443)._connected()
    assert client._client.rest_uri == "https://qdrant.example:8443"  # type: ignore[attr-defined]
    client.close()


def test_points_that_somebody_else_wrote(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = result({"points": [{"id": 1, "payload": {"a": 1}}], "next_page_offset": None})
    with pytest.raises(StoreUnavailable, match="not written by clip_search"):
        store.scroll("shop")


# versions


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.create("shop", Schema(dimension=4)),
        lambda store: store.put("shop", [product(1)]),
        lambda store: store.drop("shop", [product(1)]),
    ],
)
@pytest.mark.parametrize("version", ["1.16.3", "0.11.0"])
def test_an_old_server_is_not_written_to(
    stub: Stub, store: ServerStore, version: str, call: Callable[[ServerStore], Any]
) -> None:
    stub.answers["GET", "/"] = 200, ROOT | {"version": version}
    with pytest.raises(SetupError, match=r"1\.17"):
        call(store)
    assert [asked[:2] for asked in stub.asked] == [("GET", "/")]


def test_something_that_is_no_qdrant(stub: Stub, store: ServerStore) -> None:
    stub.answers["GET", "/"] = 200, ROOT | {"version": "teapot"}
    with pytest.raises(StoreUnavailable, match="is not a Qdrant server"):
        store.put("shop", [product(1)])


@pytest.mark.parametrize("version", ["1.17.0", "1.20.0-dev", "2.0.1"])
def test_the_version_is_asked_once(stub: Stub, store: ServerStore, version: str) -> None:
    stub.answers["GET", "/"] = 200, ROOT | {"version": version}
    stub.otherwise = result([])
    for _ in range(3):
        store.put("shop", [product(1)])
    assert len(stub.bodies("GET", "/")) == 1


# requests


def test_a_batch_is_one_request_with_a_fence_per_revision(stub: Stub, store: ServerStore) -> None:
    stub.otherwise = result([])
    store.put("shop", [product(1, revision=3), product(2, revision=7), product(3, revision=3)])
    store.drop("shop", [product(4, revision=9)])
    put, drop = stub.bodies("POST", "/collections/shop/points/batch")
    fences = [operation["upsert"]["update_filter"]["must"][0] for operation in put["operations"]]
    assert [(fence["key"], fence["range"]["lt"]) for fence in fences] == [
        ("_clip.revision", 3),
        ("_clip.revision", 7),
    ]
    assert [len(operation["upsert"]["points"]) for operation in put["operations"]] == [2, 1]
    upsert = drop["operations"][0]["upsert"]
    assert upsert["update_filter"]["must"][0]["range"]["lte"] == 9
    assert upsert["points"][0]["vector"] == {}
    assert upsert["points"][0]["payload"]["_clip"]["removed"] is True


def test_many_points_are_several_requests(stub: Stub, store: ServerStore) -> None:
    """A server refuses a request of more than 32 MiB."""
    stub.otherwise = result([])
    store.put("shop", [product(number, revision=number % 2 + 1) for number in range(250)])
    store.get("shop", [product(number).id for number in range(250)], vectors=True)
    put, got = (stub.bodies("POST", f"/collections/shop/points{path}") for path in ("/batch", ""))
    sizes = [sum(len(o["upsert"]["points"]) for o in body["operations"]) for body in put]
    assert sizes == [100, 100, 50]
    assert [len(body["ids"]) for body in got] == [100, 100, 50]


def test_points_with_many_vectors_are_more_requests(
    stub: Stub, store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.otherwise = result([])
    one = product(1)
    numbers = sum(vector.size for vector in one.vectors.values())
    monkeypatch.setattr("clip_search.stores.server.NUMBERS_A_REQUEST", 2 * numbers)
    store.put("shop", [product(number) for number in range(9)])
    store.drop("shop", [one])
    *put, drop = stub.bodies("POST", "/collections/shop/points/batch")
    assert len(put) == 5
    assert len(drop["operations"]) == 1


def collection_info(**schema: str) -> dict[str, Any]:
    """Return what a server tells of a collection that has these payload indexes."""
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "config": {
            "params": {"vectors": {}},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
        },
        "payload_schema": {key: {"data_type": kind, "points": 0} for key, kind in schema.items()},
    }


def test_create_passes_the_options_on(stub: Stub, store: ServerStore) -> None:
    stub.answers["GET", "/collections/shop/exists"] = result({"exists": False})
    stub.answers["GET", "/collections/shop"] = result(collection_info(price="float"))
    stub.answers["PUT", "/collections/shop/index"] = result({"operation_id": 1, "status": "completed"})
    options = {
        "shard_number": 2,
        "on_disk": True,
        "hnsw_config": {"m": 32},
        "quantization_config": {"scalar": {"type": "int8"}},
    }
    filters = {"price": "number", "category": "keyword", "added": "date"}
    store.create("shop", Schema(dimension=512, multiple_images=True, filters=filters, options=options))
    (body,) = stub.bodies("PUT", "/collections/shop")
    assert body["vectors"]["text"] == {"size": 512, "distance": "Cosine", "on_disk": True}
    assert body["vectors"]["image"]["multivector_config"] == {"comparator": "max_sim"}
    assert (body["shard_number"], body["hnsw_config"]) == (2, {"m": 32})
    assert body["quantization_config"] == {"scalar": {"type": "int8"}}
    indexes = {
        index["field_name"]: index["field_schema"] for index in stub.bodies("PUT", "/collections/shop/index")
    }
    assert indexes == {
        "category": "keyword",
        "added": "datetime",
        "_clip.revision": "integer",
        "_clip.exact": "keyword",
        "_clip.source": "keyword",
        "_clip.invalid": "keyword",
        "_clip.truncated": "bool",
        "_clip.without_row": "bool",
        "_clip.removed": "bool",
    }


@pytest.mark.parametrize("options", [{"shards": 2}, {"shard_number": "many"}])
def test_options_that_cannot_be(stub: Stub, store: ServerStore, options: dict[str, Any]) -> None:
    stub.answers["GET", "/collections/shop/exists"] = result({"exists": False})
    with pytest.raises(SetupError, match="COLLECTION_OPTIONS"):
        store.create("shop", Schema(dimension=4, options=options))


def test_two_processes_make_the_same_collection(stub: Stub, store: ServerStore) -> None:
    answers = iter([result({"exists": False}), result({"exists": True})])

    def exists(handler: Any) -> None:
        stub.answers["GET", "/later"] = next(answers)
        handler.path, handler.headers = "/later", {}
        handler.answer()

    stub.answers["GET", "/collections/shop/exists"] = exists
    stub.answers["PUT", "/collections/shop"] = failure(409, "Wrong input: Collection `shop` already exists!")
    stub.answers["GET", "/collections/shop"] = result(collection_info())
    stub.answers["PUT", "/collections/shop/index"] = result({"operation_id": 1, "status": "completed"})
    store.create("shop", Schema(dimension=4))
    assert len(stub.bodies("PUT", "/collections/shop/index")) == len(INDEXED)


# gRPC


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
