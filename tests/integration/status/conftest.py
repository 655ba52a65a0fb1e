"""Fixtures for the tests of the status."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doubles.qdrant_stub import serving

from ..commands.actions import make, run


@pytest.fixture
def folder(settings, tmp_path) -> Path:
    """The folder of the embedded store of this test's shop, which indexes by command only."""
    pytest.importorskip("qdrant_edge")
    folder = tmp_path / "qdrant"
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.CountingEncoder",
        "QDRANT": {"path": str(folder)},
        "AUTOSYNC": False,
    }
    return folder


@pytest.fixture
def shop(folder) -> Path:
    """Three products that are indexed, one of them with a picture. Return the folder of the store."""
    make(3, images=1)
    run("clip_reindex")
    return folder


@pytest.fixture
def stub(settings):
    """A stub of a Qdrant server, with three products that are indexed."""
    with serving() as stub:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"url": stub.url}, "AUTOSYNC": False}
        make(3)
        run("clip_reindex")
        yield stub
