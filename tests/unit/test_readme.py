"""README and CHANGELOG describe the code as it is. test_docs.py does the same for the pages in docs/."""

from __future__ import annotations

import ast
import re
import tomllib

from django.core.management import get_commands

import clip_search
from clip_search import Document
from clip_search.document import DECLARED
from clip_search.searching import SearchResults
from tests.conftest import ROOT

README = (ROOT / "README.rst").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def python_blocks() -> list[str]:
    found = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README, re.M)
    return [re.sub(r"^    ", "", text, flags=re.M) for text in found]


def test_both_commands_have_their_line():
    assert "\n    tox run -e demo\n" in README
    assert "\n    tox run\n" in README
    assert "python3 -m tox run\n" in (ROOT / ".ci" / "run").read_text()


def test_every_command_exists():
    named = set(re.findall(r"manage\.py (clip_\w+)", README))
    assert named <= {name for name, app in get_commands().items() if app == "clip_search"}
    assert "clip_reindex" in named


def test_the_declaration_declares_what_exists():
    (tree,) = (ast.parse(text) for text in python_blocks() if "@register" in text)
    (declared,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    names = {node.targets[0].id for node in declared.body if isinstance(node, ast.Assign)}
    assert len(names) >= 5
    assert names <= DECLARED


def test_every_method_that_is_used_exists():
    used = {name for text in python_blocks() for name in re.findall(r"ProductDocument\.(\w+)\(", text)}
    assert used >= {"search", "search_by_image", "similar_to"}
    assert all(hasattr(Document, name) for name in used)
    assert hasattr(SearchResults, "filter")


def test_every_link_into_the_repository_leads_somewhere():
    home = PROJECT["urls"]["Homepage"]
    raw = home.replace("https://github.com", "https://raw.githubusercontent.com")
    links = re.findall(rf"{home}/(?:blob|tree)/main/([\w/.-]+)", README)
    links += re.findall(rf"{raw}/main/([\w/.-]+)", README)
    assert len(links) >= 8
    for path in links:
        assert (ROOT / path).exists(), path
    for address in PROJECT["urls"].values():
        assert address.startswith(home)


def test_the_screenshot_is_small():
    (path,) = re.findall(r"image:: \S+/main/(\S+)", README)
    assert (ROOT / path).stat().st_size < 150_000


def test_readme_is_short():
    assert len(README.splitlines()) <= 125


def test_changelog_is_of_this_version():
    assert f"\n{clip_search.__version__} " in (ROOT / "CHANGELOG.rst").read_text()
