"""The example's nginx configuration in front of a server that answers with the headers that it got."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import PATIENCE
from tests.processes.nginx import proxying

pytestmark = pytest.mark.timing


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def connection(tmp_path) -> Iterator[http.client.HTTPConnection]:
    """A connection to nginx."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            with (
                proxying(tmp_path, f"127.0.0.1:{server.server_port}", tmp_path) as address,
                closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as connection,
            ):
                yield connection
        finally:
            server.shutdown()


def test_a_forged_address_is_replaced_and_the_host_is_kept(connection):
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "Host": "shop.example.com"}
    connection.request("POST", "/api/v1/search", b"{}", forged)
    headers = json.loads(connection.getresponse().read())
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["Host"] == "shop.example.com"


@pytest.mark.parametrize(("megabytes", "status"), [(12, 200), (14, 413)])
def test_a_picture_of_the_largest_size_passes_and_what_is_larger_does_not(connection, megabytes, status):
    connection.request("POST", "/api/v1/index-product-with-image", bytes(megabytes << 20))
    assert connection.getresponse().status == status
