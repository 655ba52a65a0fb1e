"""Fixtures for the tests of the endpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from clip_search import queue
from clip_search.documents.registry import registry


@pytest.fixture
def client() -> Client:
    user = get_user_model()(username="staff", is_staff=True)
    user.set_password("secret")
    user.save()
    client = Client(raise_request_exception=True)
    client.force_login(user)
    return client


@pytest.fixture
def document():
    return registry.get("product")


@pytest.fixture
def clip_search(settings):
    """Return a function that changes keys of CLIP_SEARCH."""

    def change(**keys: object) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | keys

    return change


@pytest.fixture
def woken(clip_search, monkeypatch) -> list[str]:
    """Use a queue that only notes which documents were announced."""
    names: list[str] = []
    clip_search(QUEUE="default")
    monkeypatch.setattr(queue, "wake", lambda document: names.append(document.name) or True)
    return names


@pytest.fixture
def uploads(settings, tmp_path) -> Path:
    """Stream every upload through a temporary file, in a folder of its own."""
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()
    return settings.FILE_UPLOAD_TEMP_DIR
