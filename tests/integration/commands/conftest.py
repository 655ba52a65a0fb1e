"""Fixtures for the tests of the commands."""

from __future__ import annotations

import pytest

from tests.doubles.stores import FaultyStore


@pytest.fixture(autouse=True)
def doubles(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "ENCODER": "tests.doubles.encoders.CountingEncoder",
        "QDRANT": {"backend": "tests.doubles.stores.FaultyStore"},
    }
    yield
    FaultyStore.faults = []
