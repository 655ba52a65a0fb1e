"""Fixtures for the tests of the checks."""

from __future__ import annotations

import pytest

from clip_search import checks

from .actions import GOOD, ids


@pytest.fixture
def said(settings):
    """Return a function that gives the numbers said about CLIP_SEARCH with these keys."""

    def say(**keys: object) -> list[str]:
        settings.CLIP_SEARCH = GOOD | keys
        return ids(checks.check_settings())

    return say
