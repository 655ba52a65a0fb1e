"""A stub of a Qdrant server: HTTP in front of qdrant-client's in-memory mode, with faults on demand.

It stores points, honours conditional writes and ranks, so that tests can read back what a client wrote. It is
no Qdrant. `tests/unit/test_stores.py` runs the whole contract of a store against it.

It fails in three ways. `share` of the requests meet a random fault. `hang()` leaves all requests without an
answer until `go_on()`. `refuse()` answers with a status and a reason, as a real server was seen to do.
"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from .qdrant_memory import QdrantMemory

COLLECTION = re.compile(r"/collections/([^/]+)(?:/(.+))?")
FAULTS = ("timeout", "reset", "500", "503", "429", "garbage", "bytes", "half", "proxy")
Stub = TypeVar("Stub", bound="StubQdrant")
HANG = 3600.0
"""Seconds that a request without an answer hangs: far above the timeout of any client in the tests."""
CLIENT = "X-Client"
"""The header by which open requests are counted. A process of a test sends its own value."""
Operation = tuple[str, str]
"""The method of a request, and its path; of a collection, only what follows its name."""


class StubQdrant(ThreadingHTTPServer):
    """Answers as a Qdrant server would.

    `share` of the requests fail, half of those after they were carried out.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, seed: int = 0, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.client = QdrantMemory()
        self.working = threading.Lock()
        self.over = threading.Event()
        self.share = 0.0
        self.kinds = FAULTS
        self.rng = random.Random(seed)
        self.met: Counter[str] = Counter()
        """The number of requests by fault; "" for those without one."""
        self.keys: dict[str, bool] = {}
        """The keys that the server accepts, and whether they may write. If empty, none is needed."""
        self.refusal: Refusal | None = None
        self.answering = threading.Event()
        self.answering.set()
        self.counting = threading.Lock()
        self.open: list[tuple[str, socket.socket]] = []
        self.most_open: Counter[str] = Counter()
        """The most requests of a client that were open at once, by the client's header X-Client."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def requests(self) -> int:
        return sum(self.met.values())

    @property
    def faults(self) -> int:
        return self.requests - self.met[""]

    def hang(self) -> None:
        """Answer nothing from now on, as a server that is stopped with SIGSTOP."""
        self.answering.clear()

    def go_on(self) -> None:
        """Carry out and answer what waits, even if its client is gone, as after SIGCONT."""
        self.answering.set()

    def refuse(
        self,
        status: int,
        reason: str | bytes,
        *,
        only: Container[Operation] | None = None,
        carried_out: bool = False,
    ) -> None:
        """Refuse all requests, or those in `only`, from now on. A reason in bytes is the whole body.

        With `carried_out`, what is refused is carried out nevertheless, as a write with too few replicas.
        `accept()` ends this.
        """
        self.refusal = Refusal(status, reason, only, carried_out)

    def accept(self) -> None:
        self.refusal = None

    @contextmanager
    def counted(self, client: str, connection: socket.socket) -> Iterator[None]:
        """Count a request as open during the block."""
        with self.counting:
            self.open.append((client, connection))
            self.most_open[client] = max(self.most_open[client], self._open(client))
        try:
            yield
        finally:
            with self.counting:
                self.open.remove((client, connection))

    def open_requests(self, client: str = "") -> int:
        """Return how many requests of a client are open now: not answered, and the client still waits."""
        with self.counting:
            return self._open(client)

    def _open(self, client: str) -> int:
        return sum(name == client and is_connected(connection) for name, connection in self.open)

    def fault(self) -> tuple[str, bool]:
        """Choose the fault of a request, "" for none, and whether the request is carried out nevertheless."""
        with self.working:
            wrong = self.rng.random() < self.share
            kind = self.rng.choice(self.kinds) if wrong else ""
            self.met[kind] += 1
            return kind, not kind or self.rng.random() < 0.5

    def denied(self, key: str | None, method: str, path: str) -> tuple[int, Any] | None:
        """Return the status and the reason if the key does not allow the request."""
        if not self.keys or path == "/":
            return None
        if key is None:
            return 401, b"Must provide an API key or an Authorization bearer token"
        if key not in self.keys:
            return 401, b"Invalid API key or JWT"
        found = COLLECTION.fullmatch(path)
        if not self.keys[key] and found and (method, found[2] or "") in WRITES:
            return 403, "Forbidden: Global manage access is required"
        return None

    def do(self, method: str, path: str, body: dict[str, Any], query: str = "") -> tuple[int, Any]:
        """Carry out a request, or refuse it. Return the status, and the result or the reason."""
        found = COLLECTION.fullmatch(path)
        name, operation = (found[1], (method, found[2] or "")) if found else ("", (method, path))
        refusal = self.refusal
        if refusal is None or not (refusal.only is None or operation in refusal.only):
            return self.carry_out(name, operation, body)
        if refusal.carried_out:
            self.carry_out(name, operation, body)
        return refusal.status, refusal.reason

    def carry_out(self, name: str, operation: Operation, body: dict[str, Any]) -> tuple[int, Any]:
        if operation == ("GET", "/readyz"):
            return 200, None
        if operation == ("GET", "/"):
            return 200, {"title": "stub of a qdrant server", "version": "1.18.3"}
        if operation == ("GET", "/collections"):
            with self.working:
                return 200, plain(self.client.get_collections())
        work = WORK.get(operation) if name else None
        if not work:
            return 404, "Not Found"
        with self.working, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if operation not in FREE and not self.client.collection_exists(name):
                return 404, f"Not found: Collection `{name}` doesn't exist!"
            try:
                return 200, plain(work(self.client, name, body))
            except (ValueError, AssertionError) as error:
                # the in-memory mode multiplies without a look at the dimension
                other = "Vector dimension error: " * ("not aligned" in str(error))
                return 400, f"Wrong input: {other}{error}"

    def handle_error(self, *args: Any) -> None:
        """Print errors, unless a client did not wait for its answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*args)


@dataclass(frozen=True)
class Refusal:
    """What `refuse()` was told."""

    status: int
    reason: str | bytes
    only: Container[Operation] | None
    carried_out: bool


def is_connected(connection: socket.socket) -> bool:
    """Return whether the peer has not closed the connection."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


class Handler(BaseHTTPRequestHandler):
    server: StubQdrant
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.counted(self.headers.get(CLIENT, ""), self.connection):
            kind, works = self.server.fault()
            self.server.answering.wait()
            body = json.loads(data) if data else {}
            path, _, query = self.path.partition("?")
            denied = self.server.denied(self.headers.get("api-key"), self.command, path)
            status, result = denied or (
                self.server.do(self.command, path, body, query) if works else (500, "")
            )
            if kind:
                getattr(self, f"fail_{kind}")()
            elif status == 200:
                self.say(200, result if path == "/" else {"result": result, "status": "ok", "time": 0.0})
            elif isinstance(result, bytes):
                self.say(status, result)
            else:
                self.say(status, {"status": {"error": result}, "time": 0.0})

    do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815, the names http.server looks for

    def say(self, status: int, content: Any, length: int | None = None, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(length or len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def fail_timeout(self) -> None:
        self.server.over.wait(HANG)
        self.close_connection = True

    def fail_reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.close_connection = True

    def fail_500(self) -> None:
        self.say(500, {"status": {"error": "Service internal error: disk on fire"}, "time": 0.0})

    def fail_503(self) -> None:
        self.say(503, b"<html>No healthy upstream</html>")

    def fail_429(self) -> None:
        self.say(429, {"status": {"error": "Rate limiting exceeded"}, "time": 0.0}, **{"Retry-After": "1"})

    def fail_garbage(self) -> None:
        self.say(200, b"<html>Welcome to the captive portal</html>")

    def fail_bytes(self) -> None:
        self.say(200, b"\xff\xfe\x00\x80 \x00\xd8 nothing that anybody could decode")

    def fail_half(self) -> None:
        self.say(200, b'{"result": [{"id": ', length=4096)
        self.close_connection = True

    def fail_proxy(self) -> None:
        self.say(400, b"<html>Bad request</html>")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def plain(value: Any) -> Any:
    """Return the client's answer as JSON values."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.model_dump(mode="json", exclude_none=True) if hasattr(value, "model_dump") else value


def create(client: QdrantClient, name: str, body: dict[str, Any]) -> bool:
    asked = models.CreateCollection(**body)
    options = {"metadata": asked.metadata, "strict_mode_config": asked.strict_mode_config}
    vectors = {"vectors_config": asked.vectors, "sparse_vectors_config": asked.sparse_vectors}
    return bool(client.create_collection(name, **vectors, **options))


def add_words(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    return client.create_vector_name(name, "words", models.SparseVectorNameConfig(**body))


def make_index(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    return client.create_payload_index(
        name, body["field_name"], models.PayloadSchemaType(body["field_schema"])
    )


def retrieve(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    asked = models.PointRequest(**body)
    return client.retrieve(name, asked.ids, asked.with_payload, asked.with_vector or False)


def scroll(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    asked = models.ScrollRequest(**body)
    options = {"offset": asked.offset, "limit": asked.limit or 10, "with_vectors": asked.with_vector or False}
    payload = True if asked.with_payload is None else asked.with_payload
    points, after = client.scroll(name, scroll_filter=asked.filter, with_payload=payload, **options)
    return {"points": plain(points), "next_page_offset": after}


def update(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    client.batch_update_points(name, models.UpdateOperations(**body).operations)
    return [{"operation_id": 1, "status": "completed"} for _ in body["operations"]]


def delete(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    return client.delete(name, models.FilterSelector(**body))


def query(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    return client.query_batch_points(name, models.QueryRequestBatch(**body).searches)


def facet(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    asked = models.FacetRequest(**body)
    options = {"limit": asked.limit or 10, "exact": asked.exact}
    return client.facet(name, asked.key, facet_filter=asked.filter, **options)


def count(client: QdrantClient, name: str, body: dict[str, Any]) -> Any:
    asked = models.CountRequest(**body)
    return client.count(name, count_filter=asked.filter, exact=asked.exact)


WORK: dict[tuple[str, str], Callable[[QdrantClient, str, dict[str, Any]], Any]] = {
    ("GET", "exists"): lambda client, name, body: {"exists": client.collection_exists(name)},
    ("GET", ""): lambda client, name, body: client.get_collection(name),
    ("PUT", ""): create,
    ("DELETE", ""): lambda client, name, body: client.delete_collection(name),
    ("PUT", "index"): make_index,
    ("PUT", "vectors/words"): add_words,
    ("POST", "points"): retrieve,
    ("POST", "points/scroll"): scroll,
    ("POST", "points/batch"): update,
    ("POST", "points/delete"): delete,
    ("POST", "points/query/batch"): query,
    ("POST", "points/count"): count,
    ("POST", "facet"): facet,
}
WRITES = {
    ("PUT", ""),
    ("DELETE", ""),
    ("PUT", "index"),
    ("PUT", "vectors/words"),
    ("POST", "points/batch"),
    ("POST", "points/delete"),
}
FREE = {("GET", "exists"), ("PUT", ""), ("DELETE", "")}
"""Requests that are allowed for a collection that does not exist."""


@contextmanager
def serving(seed: int = 0) -> Iterator[StubQdrant]:
    """Run a stub in a thread while the block runs."""
    with running(StubQdrant(seed)) as stub:
        yield stub


@contextmanager
def running(stub: Stub) -> Iterator[Stub]:
    """Let a stub serve in a thread while the block runs."""
    with stub:
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            stub.over.set()
            stub.go_on()
            stub.shutdown()
            thread.join()
