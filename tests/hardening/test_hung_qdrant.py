"""A Qdrant that does not answer, and what it costs the processes of a shop."""

from __future__ import annotations

import base64
import http.client
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from clip_search import jobs
from clip_search.models import IndexEntry
from tests.conftest import PATIENCE, free_port, picture_bytes, wait_until
from tests.doubles.qdrant_stub import StubQdrant, serving
from tests.processes.workers import save

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

THREADS = 4
SEARCH = "/api/v1/search?q=product"
POST = "/api/v1/index-product-with-image"
NO_PAUSE = "clip_search.stores.nodes.PAUSE_AFTER_TIMEOUT=0"


@pytest.fixture
def stub(shared, settings) -> Iterator[StubQdrant]:
    """A stub with one indexed product, which the processes of this test use."""
    with serving() as server:
        shared["CLIP_SEARCH_TEST_QDRANT_STUB"] = server.url
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": server.url}}
        save(0)
        jobs.index_due("product")
        yield server


@pytest.fixture
def processes(start_process, shared, stub) -> dict[str, int]:
    """Start two web processes that have answered a search. Return {name: port}."""
    ports = {}
    for name in ("first", "second"):
        ports[name] = free_port()
        serve = ["runserver", "--noreload", f"127.0.0.1:{ports[name]}"]
        start_process(
            "-m",
            "tests.processes.patched",
            NO_PAUSE,
            "--",
            *serve,
            CLIP_SEARCH_TEST_QDRANT_CLIENT=name,
            **shared,
        )
    for port in ports.values():
        assert wait_until(lambda port=port: search(port) == 200)
    return ports


def search(port: int) -> int:
    return status_of(port, "GET", SEARCH)


def status_of(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    """Send a request to a web process. Return the status of the answer, or 0 if it does not listen yet."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        with suppress(ConnectionRefusedError):
            connection.request(method, path, body, headers)
            return connection.getresponse().status
        return 0


def search_at_once(ports: dict[str, int]) -> list[int]:
    """Send as many searches to each process as it has threads. Return the statuses."""
    waiting = [port for port in ports.values() for _ in range(THREADS)]
    with ThreadPoolExecutor(len(waiting)) as pool:
        return list(pool.map(search, waiting))


def test_after_a_timeout_each_process_has_one_open_try_at_most(stub, processes):
    stub.hang()
    stub.most_open.clear()
    assert search_at_once(processes) == [503] * 8
    assert set(stub.most_open) == set(processes)

    tries: Counter[str] = Counter()

    def each_has_tried_again() -> bool:  # without a pause, so one of those that search always tries
        stub.most_open.clear()
        assert search_at_once(processes) == [503] * 8
        assert max(stub.most_open.values()) <= 1
        tries.update(stub.most_open)
        return all(tries[name] >= 3 for name in processes)

    assert wait_until(each_has_tried_again)

    stub.go_on()
    for port in processes.values():
        assert wait_until(lambda port=port: search(port) == 200)


def test_the_asynchronous_post_asks_nothing_of_qdrant(stub, processes):
    user = get_user_model()(username="staff", is_staff=True)
    user.set_password("secret")
    user.save()
    stub.hang()
    before = stub.requests
    credentials = base64.b64encode(b"staff:secret").decode()
    image = SimpleUploadedFile("mug.png", picture_bytes(), "image/png")
    fields = {"product_id": "P-1", "name": "Red mug", "image_file": image}
    body = encode_multipart(BOUNDARY, fields)
    for port in processes.values():
        for _ in range(2):  # the second one posts what exists
            headers = {"Content-Type": MULTIPART_CONTENT, "Authorization": f"Basic {credentials}"}
            assert status_of(port, "POST", POST, body, **headers) == 202
    assert stub.requests == before
    assert IndexEntry.objects.get(product_id="P-1").revision == 4
