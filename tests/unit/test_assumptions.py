"""`python -m tests.assumptions`, against the stub of a server: both assume the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

pytest.importorskip("qdrant_client")

from tests.assumptions.__main__ import run
from tests.assumptions.trial import ASSUMPTIONS, Trial
from tests.conftest import ROOT
from tests.doubles import qdrant_stub
from tests.doubles.qdrant_cluster import REFUSED, ClusterStub, Node, serving_cluster
from tests.doubles.qdrant_stub import StubQdrant, running, serving

NEED_A_CLUSTER = {a.name for a in ASSUMPTIONS if a.check.__module__ == "tests.assumptions.cluster"}


@pytest.fixture
def stub() -> Iterator[StubQdrant]:
    with serving() as server:
        yield server


def outcomes(trial: Trial) -> tuple[int, dict[str, str]]:
    """Try all assumptions. Return the exit status, and the outcome of each by its name."""
    lines: list[str] = []
    status = run(trial, lines.append)
    return status, {name: outcome for name, _, outcome in (line.partition(": ") for line in lines)}


def test_the_stub_does_what_is_assumed(stub: StubQdrant) -> None:
    stub.keys = {"write": True, "read": False}
    status, found = outcomes(Trial([stub.url], api_key="write", read_only_key="read"))
    assert status == 0, found
    assert {name for name, outcome in found.items() if outcome.startswith("not tried")} == NEED_A_CLUSTER
    assert len(found) == len(ASSUMPTIONS)
    assert not stub.client.get_collections().collections


@pytest.fixture
def cluster() -> Iterator[tuple[ClusterStub, list[str]]]:
    """A fake cluster of two nodes, and their addresses."""
    with serving_cluster(2) as stub, running(Node(stub, 0)) as first, running(Node(stub, 1)) as second:
        yield stub, [first.url, second.url]


def test_the_stub_of_a_cluster_does_what_is_assumed(cluster: tuple[ClusterStub, list[str]]) -> None:
    stub, urls = cluster
    stop, start = (lambda: stub.down.add(1)), (lambda: stub.down.discard(1))
    status, found = outcomes(Trial(urls, stop=stop, start=start))
    assert status == 0, found
    assert not {name for name, outcome in found.items() if outcome.startswith("not tried")} & NEED_A_CLUSTER


def test_a_cluster_that_undoes_a_refused_write_is_found(
    cluster: tuple[ClusterStub, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, urls = cluster
    write = stub._write

    def all_or_none(method: str, path: str, body: dict[str, Any], name: str) -> tuple[int, Any]:
        return (500, REFUSED.format(2, 1)) if stub.down else write(method, path, body, name)

    monkeypatch.setattr(stub, "_write", all_or_none)
    stop, start = (lambda: stub.down.add(1)), (lambda: stub.down.discard(1))
    status, found = outcomes(Trial(urls, stop=stop, start=start))
    assert status == 1
    assert found["a refused write has been applied on living replicas"].startswith(
        "DOES NOT HOLD: got {1: 1,"
    )


def test_a_server_that_does_something_else_is_found(
    stub: StubQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unconditional(client: Any, name: str, body: dict[str, Any]) -> Any:
        for operation in body["operations"]:
            operation.get("upsert", {}).pop("update_filter", None)
        return qdrant_stub.update(client, name, body)

    monkeypatch.setitem(qdrant_stub.WORK, ("POST", "points/batch"), unconditional)
    status, found = outcomes(Trial([stub.url]))
    assert status == 1
    wrong = {name for name, outcome in found.items() if outcome.startswith("DOES NOT HOLD: got ")}
    assert wrong == {
        "an upsert that is not newer changes nothing",
        "a condition is judged for each point",
        "operations of one request are applied in their order",
    }


def test_the_command_says_a_line_for_each(stub: StubQdrant) -> None:
    command = [sys.executable, "-m", "tests.assumptions", stub.url]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(ran.stdout.splitlines()) == len(ASSUMPTIONS)
    assert "a missing collection is named: holds" in ran.stdout


@pytest.mark.parametrize("assumption", ASSUMPTIONS, ids=lambda a: a.check.__name__)
def test_every_assumption_names_the_modules_that_rely_on_it(assumption: Any) -> None:
    assert assumption.relying
    assert all(find_spec(module) for module in assumption.relying)
