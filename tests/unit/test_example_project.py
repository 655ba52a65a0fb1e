"""The example project: its parts are separate, and its files name only what exists."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

EXAMPLE = ROOT / "example_project"
COMPOSE = (EXAMPLE / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the top-level packages that a folder's modules import absolutely, also inside functions."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield path, node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("shop", {"demo", "demo_model_training"}),
        ("storefront", {"demo", "demo_model_training"}),
        ("demo_model_training", {"demo", "shop", "storefront", "django", "clip_search"}),
    ],
)
def test_the_parts_are_separate(folder: str, forbidden: set[str]) -> None:
    modules = list(imported(EXAMPLE / folder))
    assert modules
    assert [(path.name, name) for path, name in modules if name in forbidden] == []


def test_the_image_is_built_from_files_that_exist() -> None:
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    assert builds
    for build in builds:
        context = EXAMPLE / build["context"]
        dockerfile = (context / build["dockerfile"]).read_text()
        copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.M)
        assert copied
        for source in " ".join(copied).split():
            assert (context / source).exists(), f"COPY {source}"


def test_every_variable_of_compose_is_read_by_the_settings() -> None:
    settings = (EXAMPLE / "storefront" / "settings.py").read_text()
    names = {name for service in SERVICES.values() for name in service.get("environment", {})}
    ours = {name.removeprefix("CLIP_SEARCH_DEMO_") for name in names if name.startswith("CLIP_SEARCH_DEMO_")}
    assert ours
    assert {name for name in ours if f'env("{name}"' not in settings} == set()


def test_every_variable_that_compose_asks_for_is_in_the_example_file() -> None:
    example = (EXAMPLE / "compose.env.example").read_text()
    offered = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.M))
    assert set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE)) == offered


def test_what_the_containers_run_and_serve_exists() -> None:
    (wsgi,) = re.findall(r"gunicorn ([\w.]+)", COMPOSE)
    assert (EXAMPLE / wsgi.replace(".", "/")).with_suffix(".py").is_file()
    for static in re.findall(r"/static/(\S+\.\w+)", COMPOSE):
        assert (EXAMPLE / "shop" / "static" / static).is_file(), static


def test_every_command_that_is_named_exists(tmp_path: Path) -> None:
    listed = subprocess.run(
        [sys.executable, EXAMPLE / "manage.py", "help", "--commands"],
        env=os.environ
        | {
            "CLIP_SEARCH_DEMO_DATA": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "storefront.settings",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    ).stdout.split()
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in {".html", ".py", ".rst", ".yaml"}]
    named = {
        name
        for path in [*files, ROOT / "tox.ini"]
        for name in re.findall(r"manage\.py (\w+)", path.read_text())
    }
    assert {"demo", "load_catalogue", "rqworker"} <= named
    assert named - set(listed) == set()


@pytest.mark.parametrize("readme", [EXAMPLE / "README.rst", EXAMPLE / "demo_model_training" / "README.rst"])
def test_every_path_in_a_readme_exists(readme: Path) -> None:
    paths = set(re.findall(r"``([\w./]+(?:/|\.(?:py|yaml|json|example)))``", readme.read_text()))
    assert len(paths) > 5
    made_when_used = {"var/"}
    missing = {
        path for path in paths if not any((base / path).exists() for base in (readme.parent, EXAMPLE, ROOT))
    }
    assert missing - made_when_used == set()


def test_the_readme_names_every_folder() -> None:
    readme = (EXAMPLE / "README.rst").read_text()
    folders = {
        path.name for path in EXAMPLE.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))
    }
    assert {name for name in folders if f"``{name}/``" not in readme} == set()
