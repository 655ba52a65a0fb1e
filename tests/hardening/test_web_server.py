"""What a client sends over a socket to a real web server, as no test client of Django sends it."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.conftest import PATIENCE, free_port, wait_until

pytest.importorskip("gunicorn")

JSON = {"Content-Type": "application/json"}
BODY = b'{"product_id": "P-1", "name": "Red mug"}'


@pytest.fixture
def connection(start_process, tmp_path) -> Iterator[http.client.HTTPConnection]:
    address = f"127.0.0.1:{free_port()}"
    application = "django.core.wsgi:get_wsgi_application()"
    data = str(tmp_path)
    server = start_process("-m", "gunicorn", application, "--bind", address, CLIP_SEARCH_TEST_DATA=data)
    with closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as connection:

        def is_open() -> bool:
            with suppress(OSError):
                connection.connect()
            return connection.sock is not None

        assert wait_until(is_open)
        yield connection
    server.terminate()  # a worker of gunicorn that is killed lives on for 15 s
    server.wait()


@pytest.mark.parametrize("path", ["index-product", "index-product-with-image", "search"])
def test_a_chunked_body_is_a_411_that_names_the_header(connection, path):
    connection.request("POST", f"/api/v1/{path}", iter([BODY]), JSON, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 411
    assert b"Content-Length" in answer.read()


def test_a_compressed_body_is_a_415_that_says_so(connection):
    headers = JSON | {"Content-Encoding": "gzip"}
    connection.request("POST", "/api/v1/index-product", gzip.compress(BODY), headers)
    answer = connection.getresponse()
    assert answer.status == 415
    assert b"gzip" in answer.read()
