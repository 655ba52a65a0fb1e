"""The example project: its parts are separate, and its files name only what exists."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clip_search.stores.server import NEEDED_VERSION
from tests.conftest import ROOT
from tests.processes.compose import EXAMPLE, FILES, compose, configuration

SETTINGS = (EXAMPLE / "storefront" / "settings.py").read_text()


@pytest.fixture(scope="module", params=["one node", "cluster"])
def services(request) -> dict[str, Any]:
    """The services of compose.yaml, without and with compose.cluster.yaml."""
    return configuration(*(FILES if request.param == "cluster" else FILES[:1]))["services"]


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


def in_the_example(arguments: list[str], data: Path, **environment: str) -> str:
    """Run Python in the example's folder, and return what it prints. It fails if its exit status is not 0."""
    own = {
        "CLIP_SEARCH_DEMO_DATA": str(data),
        "DJANGO_SETTINGS_MODULE": "storefront.settings",
        "PYTHONPATH": str(ROOT),
    }
    line = [sys.executable, *arguments]
    return subprocess.run(
        line, cwd=EXAMPLE, env=os.environ | environment | own, capture_output=True, text=True, check=True
    ).stdout


def test_compose_refuses_what_breaks_its_schema(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("services: {web: {comand: gunicorn}}")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        compose(files=(*FILES, wrong))
    assert "services.web.comand" in refused.value.stderr


def test_the_image_is_built_from_files_that_exist(services: dict[str, Any]) -> None:
    builds = [service["build"] for service in services.values() if "build" in service]
    assert builds
    for build in builds:
        context = Path(build["context"])
        dockerfile = (context / build["dockerfile"]).read_text()
        copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.M)
        assert copied
        for source in " ".join(copied).split():
            assert (context / source).exists(), f"COPY {source}"


def test_every_variable_of_compose_is_read_by_the_settings(services: dict[str, Any]) -> None:
    names = {name for service in services.values() for name in service.get("environment", {})}
    ours = {name.removeprefix("CLIP_SEARCH_DEMO_") for name in names if name.startswith("CLIP_SEARCH_DEMO_")}
    assert ours
    assert {name for name in ours if f'env("{name}"' not in SETTINGS} == set()


def test_every_variable_that_compose_asks_for_is_in_the_example_file() -> None:
    example = (EXAMPLE / "compose.env.example").read_text()
    asked = json.loads(compose("--variables", "--format=json")).values()
    needed = {variable["Name"] for variable in asked if variable["Required"]}
    assert set(re.findall(r"^([A-Z_]+)=$", example, re.M)) == needed
    offered = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", example, re.M))
    assert set(offered) == {variable["Name"] for variable in asked} - needed


def test_every_address_in_compose_is_a_port_of_a_service(services: dict[str, Any]) -> None:
    ports = {
        "web": {"8000"},  # its --bind
        "valkey": {"6379"},
        **{name: {"6333", "6335"} for name in services if name.startswith("qdrant")},
    }
    assert services["web"]["command"][-1] == "0.0.0.0:8000"
    texts = [
        text
        for service in services.values()
        for text in [*service.get("environment", {}).values(), *(service.get("command") or [])]
    ]
    named = re.findall(r"(?://|@)([\w-]+):(\d+)", " ".join([*texts, (EXAMPLE / "nginx.conf").read_text()]))
    named = [(host, port) for host, port in named if host != "localhost"]
    assert len(named) >= 4
    assert [(host, port) for host, port in named if port not in ports.get(host, ())] == []


def test_every_file_and_folder_that_compose_mounts_or_serves_exists(services: dict[str, Any]) -> None:
    merged = configuration(*FILES)
    assert [Path(config["file"]).is_file() for config in merged["configs"].values()] == [True]
    (static,) = re.findall(r"/static/(\S+\.\w+)", " ".join(services["proxy"]["healthcheck"]["test"]))
    assert (EXAMPLE / "shop" / "static" / static).is_file()
    data = services["web"]["environment"]["CLIP_SEARCH_DEMO_DATA"]
    assert data in {volume["target"] for volume in services["proxy"]["volumes"]}
    served = re.findall(r"location /(\w+)/ \{\s+alias (\S+)/;", (EXAMPLE / "nginx.conf").read_text())
    assert served == [(name, f"{data}/{name}") for name in ("static", "media")]
    assert all(f'{name.upper()}_ROOT = DATA / "{name}"' in SETTINGS for name, _ in served)


def test_every_script_that_the_containers_run_exists(services: dict[str, Any]) -> None:
    lines = [
        line
        for service in services.values()
        for line in (service.get("command") or [], service.get("healthcheck", {}).get("test") or [])
    ]
    scripts = set(re.findall(r"python (\S+\.py)", " ".join(" ".join(line) for line in lines)))
    assert scripts == {"manage.py", "healthcheck.py"}
    assert all((EXAMPLE / script).is_file() for script in scripts)


def test_compose_runs_a_qdrant_that_is_new_enough(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values() if "qdrant" in service["image"]}
    (version,) = {tuple(map(int, re.findall(r"\d+", image))) for image in images}
    assert version >= NEEDED_VERSION


def test_the_cluster_has_three_nodes_and_the_shop_knows_all_of_them() -> None:
    services = configuration(*FILES)["services"]
    nodes = {name: service for name, service in services.items() if name.startswith("qdrant")}
    assert len(nodes) == 3
    for name, node in nodes.items():
        assert node["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert node["command"][1:3] == ["--uri", f"http://{name}:6335"]
        assert node["command"][3:] == ([] if name == "qdrant" else ["--bootstrap", "http://qdrant:6335"])
    storage = [volume["source"] for node in nodes.values() for volume in node["volumes"]]
    assert sorted(storage) == sorted(nodes)
    for name in ("migrate", "web", "worker", "nightly"):
        urls = services[name]["environment"]["CLIP_SEARCH_DEMO_QDRANT_URL"]
        assert urls.split(",") == [f"http://{node}:6333" for node in nodes]


def test_the_settings_make_a_list_of_the_nodes(tmp_path: Path) -> None:
    code = "from storefront.settings import CLIP_SEARCH as ours; print(ours['QDRANT']['url'])"
    cluster = configuration(*FILES)["services"]["web"]["environment"]
    shown = in_the_example(["-c", code], tmp_path, **cluster)
    assert shown == "['http://qdrant:6333', 'http://qdrant-2:6333', 'http://qdrant-3:6333']\n"


def test_the_system_checks_have_nothing_to_say(tmp_path: Path, services: dict[str, Any]) -> None:
    line = ["manage.py", "check", "--fail-level", "WARNING"]
    assert "no issues" in in_the_example(line, tmp_path, **services["web"]["environment"])


def test_every_command_that_is_named_exists(tmp_path: Path) -> None:
    listed = in_the_example(["manage.py", "help", "--commands"], tmp_path).split()
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
