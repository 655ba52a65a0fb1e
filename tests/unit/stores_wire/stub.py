"""A stub of a Qdrant server that answers what a test tells it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROOT = {"title": "qdrant - vector search engine", "version": "1.18.3"}


Answer = tuple[int, Any] | Callable[[BaseHTTPRequestHandler], None]


def result(value: Any) -> tuple[int, Any]:
    return 200, {"result": value, "status": "ok", "time": 0.0}


def failure(status: int, message: str) -> tuple[int, Any]:
    return status, {"status": {"error": message}, "time": 0.0}


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)
    handler.close_connection = True


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
