"""The example shop on a real web server: a client that forges X-Forwarded-For is throttled like any other."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
import yaml

from tests.conftest import PATIENCE, ROOT, free_port, wait_until

pytest.importorskip("gunicorn")

EXAMPLE = ROOT / "example_project"
COMPOSE = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())
LIMIT = 600
"""Searches a minute in the example's settings."""


@pytest.fixture
def connect(start_process, tmp_path) -> Iterator[Callable[..., http.client.HTTPConnection]]:
    """Return a function that starts the example shop, with its settings, and connects to it."""
    with ExitStack() as connections:

        def start(**environment: str) -> http.client.HTTPConnection:
            address = f"127.0.0.1:{free_port()}"
            line = ("-m", "gunicorn", "storefront.wsgi", "--chdir", str(EXAMPLE), "--threads", "4")
            start_process(
                *(*line, "--bind", address),
                DJANGO_SETTINGS_MODULE="storefront.settings",
                PYTHONPATH=str(ROOT),
                CLIP_SEARCH_DEMO_DATA=str(tmp_path),
                **environment,
            )
            connection = connections.enter_context(
                closing(http.client.HTTPConnection(address, timeout=PATIENCE))
            )
            assert wait_until(lambda: is_open(connection))
            return connection

        yield start


def is_open(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.connect()
    except OSError:
        return False
    return True


def send(connection: http.client.HTTPConnection, forwarded_for: str) -> int:
    """Send a search without words, which is counted and then refused. Return the status."""
    connection.request("GET", "/api/v1/search", headers={"X-Forwarded-For": forwarded_for})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def as_nginx_sends(forged: str) -> str:
    """Return X-Forwarded-For as the example's nginx passes it on from a client at 10.0.0.9."""
    (value,) = re.findall(r"proxy_set_header X-Forwarded-For \$(\w+);", (EXAMPLE / "nginx.conf").read_text())
    return {"remote_addr": "10.0.0.9", "proxy_add_x_forwarded_for": f"{forged}, 10.0.0.9"}[value]


@pytest.mark.parametrize("proxied", [False, True])
def test_a_client_that_forges_the_header_is_throttled(connect, proxied):
    in_compose = COMPOSE["services"]["web"]["environment"]
    proxies = {"CLIP_SEARCH_DEMO_PROXIES": in_compose["CLIP_SEARCH_DEMO_PROXIES"]} if proxied else {}
    connection = connect(**proxies)
    for number in range(3 * LIMIT):  # more than the limit, because on a slow machine the first ones expire
        forged = f"1.2.{number // 256}.{number % 256}"
        status = send(connection, as_nginx_sends(forged) if proxied else forged)
        if status == 429:
            break
        assert status == 400
    assert status == 429
    assert number >= LIMIT


def test_two_clients_behind_the_proxy_are_counted_apart(connect):
    connection = connect(CLIP_SEARCH_DEMO_PROXIES="1")
    for _ in range(LIMIT):
        assert send(connection, "10.0.0.9") == 400
    assert send(connection, "10.0.0.9") == 429
    assert send(connection, "10.0.0.8") == 400


def test_the_proxy_replaces_the_header():
    assert as_nginx_sends("6.6.6.6") == "10.0.0.9"
