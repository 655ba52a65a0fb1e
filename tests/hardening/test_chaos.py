"""Random faults in a busy shop, by `python -m tests.chaos`: short here, minutes in `tox run -e soak`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


def soak(*values: object) -> object:
    """Return the parameters of a long form."""
    return pytest.param(*values, marks=pytest.mark.soak)


@pytest.mark.timing
@pytest.mark.parametrize(
    ("store", "minutes", "seed", "processes"),
    [
        ("server", 0.1, 1, 1),
        soak("server", 2, 11, 1),
        soak("embedded", 2, 12, 1),
        soak("server", 2, 13, 2),
        soak("embedded", 2, 14, 2),
    ],
)
def test_chaos(store, minutes, seed, processes):
    command = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--minutes",
        str(minutes),
        "--seed",
        str(seed),
        "--store",
        store,
        "--processes",
        str(processes),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * minutes + 1800)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "index as the rows" in ran.stdout
