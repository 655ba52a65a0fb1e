"""Fixtures for the tests of sharing a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_search.stores.base import Schema
from clip_search.stores.embedded.store import EmbeddedStore
from tests.processes.sharing import COLLECTION
from tests.unit.store_contract.points import DIMENSION


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    EmbeddedStore(tmp_path).create(COLLECTION, Schema(dimension=DIMENSION))
    return tmp_path
