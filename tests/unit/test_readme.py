"""README and CHANGELOG say what is there, and nothing else."""

from __future__ import annotations

import re

import pytest
from django.core.management import get_commands
from django.urls import Resolver404, resolve

import clip_search
from clip_search import Document
from clip_search.conf import DEFAULTS
from clip_search.documents.declaration import HOOKS
from tests.conftest import ROOT

README = (ROOT / "README.rst").read_text()
SETTINGS = README.split("\nSettings\n")[1].split("\nCommands\n")[0]


def test_every_setting_is_in_the_table_and_the_other_way_round():
    assert set(re.findall(r"^``([A-Z_]+)``", SETTINGS, re.M)) == set(DEFAULTS)


DEFAULTS_SHOWN = ["MODEL", "ENCODER", "QUEUE", "API_THROTTLE_RATE", "API_SEARCH_THROTTLE_RATE"]


@pytest.mark.parametrize("key", DEFAULTS_SHOWN)
def test_defaults_are_what_the_table_says(key):
    said = re.search(rf'^``{key}`` +``"([^"]+)"``', SETTINGS, re.M)
    assert said and said[1] == DEFAULTS[key]


def test_every_command_is_named_and_exists():
    ours = {name for name, app in get_commands().items() if app == "clip_search"}
    assert set(re.findall(r"^``(clip_\w+)``", README, re.M)) == ours


def test_every_attribute_and_hook_of_a_document_exists():
    table = README.split("The declaration\n---")[1].split("Settings\n")[0]
    for name in re.findall(r"^``(\w+)``", table, re.M):
        assert hasattr(Document, name), name
    assert set(HOOKS) <= set(re.findall(r"``(\w+)\(\w*\)``", table))


def test_every_endpoint_that_curl_is_shown_with_resolves():
    paths = [path.split("?")[0] for path in re.findall(r"http://127.0.0.1:8000(/api/v1/[^\s\"\\]+)", README)]
    assert len(paths) >= 5
    for path in paths:
        try:
            resolve(path)
        except Resolver404:
            pytest.fail(f"{path} is in README, and nowhere else")


def test_both_commands_have_their_line():
    assert "\n    tox run -e demo\n" in README
    assert "\n    tox run\n" in README
    assert "python3 -m tox run\n" in (ROOT / ".ci" / "run").read_text()


def test_changelog_is_of_this_version():
    assert f"\n{clip_search.__version__} " in (ROOT / "CHANGELOG.rst").read_text()
