"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import clip_search
from clip_search import Document


def test_public_names():
    assert clip_search.Document is Document
    assert {name: getattr(clip_search, name).__name__ for name in clip_search.__all__} == {
        name: name for name in clip_search.__all__
    }


def test_an_unknown_public_name():
    with pytest.raises(AttributeError, match="nonsense"):
        clip_search.nonsense  # noqa: B018


def test_importing_the_package_imports_no_django():
    code = "import sys, clip_search; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
