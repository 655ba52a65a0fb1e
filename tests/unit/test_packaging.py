"""The sdist has every file, and `pyproject.toml` declares every package that is imported."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import ROOT

OF_GIT = {".gitignore"}
"""Files that only a checkout needs; folders that begin with a dot are for the forge and for CI."""


def test_the_sdist_has_every_file(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is nothing to compare with")
    pytest.importorskip("setuptools", minversion="77")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    files = {name for name in listed if (ROOT / name).is_file()}
    for name in files:
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "source" / name)
    code = "from setuptools.build_meta import build_sdist; build_sdist('../dist')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "source", capture_output=True, check=True, timeout=600
    )

    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
    wanted = {name for name in files if name not in OF_GIT and not re.match(r"\.\w+/", name)}
    assert wanted - packed == set()
    assert {name for name in packed - wanted if not name.startswith("django_clip_search.egg-info/")} == {
        "PKG-INFO",
        "setup.cfg",
    }


def test_the_wheel_has_templates_and_static_files(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "clip_search", tmp_path / "source" / "clip_search", ignore=ignored)
    for name in ("pyproject.toml", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "source")
    code = "from setuptools.build_meta import build_wheel; build_wheel('../dist')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "source", capture_output=True, check=True, timeout=600
    )

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    folders = [ROOT / "clip_search" / name for name in ("templates", "static")]
    files = {
        str(file.relative_to(ROOT)) for folder in folders for file in folder.rglob("*") if file.is_file()
    }
    assert "clip_search/static/clip_search/search_box.js" in files
    assert {*files, "clip_search/py.typed"} <= packed


def imported() -> Iterator[str]:
    """Yield the top-level packages that the package imports, also inside functions."""
    for path in (ROOT / "clip_search").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.partition(".")[0]


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = {
        re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")
        for requirement in [*project["dependencies"], *(line for extra in extras for line in extra)]
    }
    distributions = packages_distributions()
    for package in set(imported()) - sys.stdlib_module_names - {"clip_search"}:
        names = {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
        assert names & declared, f"{package} is imported and not declared"
