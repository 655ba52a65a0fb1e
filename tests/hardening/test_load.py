"""Two hundred clients at once on a real web server: nothing is refused for being many, nothing is lost."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from django.contrib.auth import get_user_model

from clip_search.documents.registry import registry
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from tests.conftest import wait_until

pytest.importorskip("gunicorn")

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.sql,
]

DOCUMENT = registry.get("product")
CLIENTS = 200


@pytest.fixture
def environment(shared) -> dict[str, str]:
    user = get_user_model()(username="staff", is_staff=True)
    user.set_password("secret")
    user.save()
    return shared | {"DJANGO_SETTINGS_MODULE": "tests.settings_under_load"}


@pytest.fixture
def server(start_process, environment) -> tuple[str, Popen[str]]:
    """Gunicorn in the shape of compose.yaml, two processes of four threads: its address, its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    shape = ("--workers", "2", "--threads", "4", "--backlog", "1024", "--log-level", "warning")
    server = "django.core.wsgi:get_wsgi_application()"
    process = start_process("-m", "gunicorn", server, "--bind", address, *shape, **environment)
    assert wait_until(lambda: answers(address)), process
    return address, process


def answers(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def children(process: Popen[str]) -> Iterator[int]:
    for line in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        yield int(line)


def megabytes(pid: int) -> float:
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1024


def check(
    server, start_process, environment, say: Callable[[str], None], seconds: float, growth_mb: float
) -> None:
    address, process = server
    quick = ("clip_search.worker.SWEEP_SECONDS=1", "clip_search.worker.WAIT_SECONDS=1")
    line = ("-m", "tests.processes.patched", *quick, "--", "rqworker", "default", "--verbosity", "0")
    worker = start_process(*line, **environment)
    load = start_process("-m", "tests.processes.load", address, str(seconds), str(CLIENTS))
    time.sleep(seconds / 3)
    web = list(children(process))
    before = {pid: megabytes(pid) for pid in [*web, worker.pid]}
    output, _ = load.communicate(timeout=seconds + 600)
    facts = json.loads(output.splitlines()[-1])
    growth = {pid: megabytes(pid) - size for pid, size in before.items()}
    assert wait_until(lambda: not IndexEntry.objects.exclude(state="indexed").exists(), 600)
    count = sum(facts["statuses"].values())
    say(
        f"{CLIENTS} clients, {seconds:.0f} s: {count} requests, {facts['statuses']}, "
        f"median {facts['median']:.2f} s, longest {facts['longest']:.2f} s; "
        f"web grew by {max(growth[pid] for pid in web):.1f} MB, the worker by {growth[worker.pid]:.1f} MB"
    )
    assert set(facts["statuses"]) == {"202"}
    assert count >= CLIENTS
    assert_kept(facts["names"])
    assert list(children(process)) == web  # none of them died and was replaced
    assert worker.poll() is None
    assert max(growth[pid] for pid in web) < growth_mb


def assert_kept(names: dict[str, str]) -> None:
    """Every product says in the index what its latest accepted request said."""
    keys = {DOCUMENT.point_id(product_id): name for product_id, name in names.items()}
    points = get_store().get(Collection.objects.get(document="product").name, list(keys))
    assert {key: point.payload["name"] for key, point in points.items()} == keys


def test_two_hundred_clients(server, start_process, environment, say):
    check(server, start_process, environment, say, 6, growth_mb=80)  # still warming up


@pytest.mark.soak
def test_two_hundred_clients_for_a_minute(server, start_process, environment, say):
    check(server, start_process, environment, say, 60, growth_mb=15)
