"""The endpoints run outside ATOMIC_REQUESTS."""

from __future__ import annotations

import sys

import pytest
from django.db import connection, connections

from clip_search import queue

from .actions import post_image

pytestmark = pytest.mark.django_db


def test_endpoints_run_outside_atomic_requests():
    urls = [pattern.callback for pattern in sys.modules["clip_search.api.urls"].urlpatterns]
    assert all(set(connections) <= view._non_atomic_requests for view in urls)


@pytest.mark.sql
@pytest.mark.django_db(transaction=True)
def test_answer_comes_after_the_commit_under_atomic_requests(client, woken, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    seen = []
    monkeypatch.setattr(queue, "wake", lambda document: seen.append(connection.in_atomic_block) or True)
    assert post_image(client).status_code == 202
    assert seen == [False]
