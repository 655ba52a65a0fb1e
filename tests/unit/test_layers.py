"""Imports follow the layers that `pyproject.toml` lists for import-linter, also inside functions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("importlinter")

CLIMBING = """

def find() -> object:
    from .searching import search

    return search
"""
"""What is appended to `types.py`: an import of a higher layer, inside a function."""


def lint_imports(folder: Path) -> tuple[int, str]:
    """Run import-linter on the package in a folder. Return its exit status and what it printed."""
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts"), "lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package and of the contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "clip_search", tmp_path / "clip_search", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path


def append(module: Path, code: str) -> None:
    with module.open("a") as file:
        file.write(code)


def test_imports_follow_the_layers() -> None:
    status, output = lint_imports(ROOT)
    assert status == 0, output


def test_an_unchanged_copy_follows_the_layers(copy: Path) -> None:
    status, output = lint_imports(copy)
    assert status == 0, output


def test_an_import_of_a_higher_layer_inside_a_function_breaks_the_contract(copy: Path) -> None:
    append(copy / "clip_search" / "types.py", CLIMBING)
    status, output = lint_imports(copy)
    assert status == 1, output
    assert "rooms BROKEN" in output
    assert "clip_search.types -> clip_search.searching" in output


@pytest.mark.parametrize(
    ("folder", "siblings", "contract"),
    [("", ("cores", "images"), "rooms"), ("documents", ("fields", "text"), "documents")],
)
def test_a_cycle_of_two_siblings_breaks_the_contract(
    copy: Path, folder: str, siblings: tuple[str, str], contract: str
) -> None:
    one, other = siblings
    append(copy / "clip_search" / folder / f"{one}.py", f"\nfrom . import {other}\n")
    append(copy / "clip_search" / folder / f"{other}.py", f"\nfrom . import {one}\n")
    status, output = lint_imports(copy)
    assert status == 1, output
    assert f"{contract} BROKEN" in output


def test_an_import_of_the_api_breaks_the_contract(copy: Path) -> None:
    append(copy / "clip_search" / "apps.py", "\nfrom .api import urls\n")
    status, output = lint_imports(copy)
    assert status == 1, output
    assert "nothing imports the api BROKEN" in output


def test_a_module_that_no_contract_lists_breaks_the_contract(copy: Path) -> None:
    (copy / "clip_search" / "unlisted.py").touch()
    status, output = lint_imports(copy)
    assert status == 1, output
    assert "clip_search.unlisted" in output
