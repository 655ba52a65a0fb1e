"""Functions are short enough to be read at once."""

from __future__ import annotations

import ast

from tests.conftest import ROOT


def test_functions_are_short() -> None:
    package = ROOT / "clip_search"
    lengths = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in set(package.rglob("*.py")) - set(package.glob("migrations/*"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > 50} == {}
    assert sum(length <= 30 for length in lengths.values()) >= 0.9 * len(lengths)
