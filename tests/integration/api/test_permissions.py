"""Permissions, CSRF and rates."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from clip_search.models import IndexEntry

from .actions import ASYNC, FIELDS, NOBODY, SEARCH, SYNC

pytestmark = pytest.mark.django_db
WRITES = [
    ("post", SYNC),
    ("post", ASYNC),
    ("get", f"/api/v1/index-jobs/{NOBODY}.1"),
    ("delete", "/api/v1/products/test-123"),
]


@pytest.mark.parametrize(("method", "url"), WRITES)
def test_anonymous_and_non_staff_are_refused(method, url, clip_search):
    clip_search(QUEUE="default")
    assert getattr(Client(), method)(url).status_code == 401
    shopper = Client()
    shopper.force_login(get_user_model().objects.create(username="shopper"))
    assert getattr(shopper, method)(url).status_code == 403
    assert not IndexEntry.objects.exists()


@pytest.mark.parametrize(("method", "url"), [write for write in WRITES if write[0] != "get"])
def test_session_clients_need_a_csrf_token(client, method, url):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert getattr(strict, method)(url).status_code == 403
    assert not IndexEntry.objects.exists()


def test_basic_authentication_needs_no_csrf_token(client):
    basic = Client(enforce_csrf_checks=True, headers={"authorization": "Basic c3RhZmY6c2VjcmV0"})
    assert basic.post(SYNC, FIELDS).status_code == 200


def test_permissions_come_from_the_settings(client, clip_search):
    clip_search(
        API_PERMISSION_CLASSES=["rest_framework.permissions.AllowAny"],
        API_SEARCH_PERMISSION_CLASSES=["rest_framework.permissions.IsAuthenticated"],
    )
    assert Client().post(SYNC, FIELDS).status_code == 200
    assert Client().get(SEARCH, {"q": "mug"}).status_code == 401
    assert client.get(SEARCH, {"q": "mug"}).status_code == 200


def test_permission_class_that_cannot_be_imported_refuses(client, clip_search):
    clip_search(API_PERMISSION_CLASSES=["nowhere.Nobody"])
    assert client.post(SYNC, FIELDS).status_code == 503


def test_rates_come_from_the_settings(client, clip_search):
    clip_search(API_THROTTLE_RATE="1/min", API_SEARCH_THROTTLE_RATE="2/min")
    assert client.post(SYNC, FIELDS).status_code == 200
    answer = client.post(SYNC, FIELDS)
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    assert client.delete("/api/v1/products/x").status_code == 429
    searches = [client.get(SEARCH, {"q": "mug"}).status_code for _ in range(3)]
    assert searches == [200, 200, 429]


def test_no_rate_is_no_limit(client, clip_search):
    clip_search(API_THROTTLE_RATE="1/min", API_SEARCH_THROTTLE_RATE=None)
    client.post(SYNC, FIELDS)
    assert {client.get(SEARCH, {"q": "mug"}).status_code for _ in range(5)} == {200}


def test_hostile_address_breaks_no_cache(client):
    client.post(SYNC, FIELDS)
    hostile = Client(headers={"x-forwarded-for": "a b\x7f" * 200})
    assert hostile.get(SEARCH, {"q": "mug"}).status_code == 200
