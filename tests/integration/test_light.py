"""What is loaded when, which room imports which, and how long functions are."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from clip_search.models import IndexEntry
from tests.conftest import ROOT

PACKAGE = ROOT / "clip_search"
HEAVY = ("torch", "sentence_transformers", "transformers", "qdrant_client", "qdrant_edge")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
ROOMS = next(contract["layers"] for contract in CONTRACTS if contract["name"] == "rooms")
LAYERS = {room: height for height, layer in enumerate(reversed(ROOMS), 1) for room in layer.split(" | ")}
LAYERS["__init__"] = 0
"""How high each room lies, as pyproject.toml has it; rooms of one layer do not import each other."""
SCRIPT = f"""
import json, sys
def loaded():
    return sorted(set({HEAVY!r}) & set(sys.modules))
import django
from django.conf import settings
settings.CLIP_SEARCH["QDRANT"] = json.loads(sys.argv[1])
django.setup()
found = {{"setup": loaded()}}
from django.core.management import call_command
call_command("check", verbosity=0)
found["check"] = loaded()
from django.db import transaction
from tests.shops.shop.models import Product
with transaction.atomic():
    Product.objects.create(name="Mug", sku="M")
found["save"] = loaded()
print(json.dumps(found))
"""


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("qdrant", [{"path": "/nowhere"}, {"url": "http://127.0.0.1:1"}])
def test_neither_start_nor_check_nor_save_loads_anything_heavy(shared, queue, start_process, qdrant):
    environment = shared | {"CLIP_SEARCH_TEST_ENCODER": "clip_search.encoders.clip.ClipEncoder"}
    process = start_process("-W", "ignore", "-c", SCRIPT, json.dumps(qdrant), **environment)
    output, _ = process.communicate(timeout=60)
    assert json.loads(output.splitlines()[-1]) == {"setup": [], "check": [], "save": []}, output
    assert queue.count == 1
    assert IndexEntry.objects.count() == 1


# Imports.


def modules() -> dict[str, Path]:
    """Return the package's modules by their dotted names, but for what Django wrote."""
    found = {}
    for path in set(PACKAGE.rglob("*.py")) - set(PACKAGE.glob("migrations/*")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs at import, also within if, try and with; what only a type checker reads is left out."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        for inner in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from statements(getattr(node, inner, []))


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Return the package's modules that a module imports when it is imported."""
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    found = set()
    for node in statements(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            members = {f"{source}.{alias.name}" for alias in node.names}
            found |= (members & known.keys()) | ({source} if members - known.keys() else set())
    return {module for module in found if module in known} - {name}


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    known = modules()
    return {name: imported(name, path, known) for name, path in known.items()}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_room_is_in_the_table():
    assert {room(module) for module in modules()} <= LAYERS.keys()


def test_a_module_imports_only_lower_rooms(imports):
    climbing = [
        f"{module} imports {other}"
        for module, others in imports.items()
        for other in others
        if room(other) != room(module) and LAYERS[room(other)] >= LAYERS[room(module)]
    ]
    assert climbing == []


def test_there_is_no_import_cycle(imports):
    list(TopologicalSorter(imports).static_order())


def test_nothing_outside_imports_the_api(imports):
    assert [
        m for m, others in imports.items() if room(m) != "api" and any(room(o) == "api" for o in others)
    ] == []


# Functions.


def test_functions_are_short():
    lengths = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > 50} == {}
    assert sum(length <= 30 for length in lengths.values()) >= 0.9 * len(lengths)
