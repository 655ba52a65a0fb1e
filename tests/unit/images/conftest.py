"""Fixtures for the tests of reading and resizing images."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def clip_settings(settings):
    settings.CLIP_SEARCH = {}
    return settings.CLIP_SEARCH
