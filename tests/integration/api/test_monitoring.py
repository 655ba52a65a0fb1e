"""The endpoints for load balancers and for monitoring."""

from __future__ import annotations

import io
import json
import sys

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.signals import got_request_exception
from django.db import DatabaseError
from django.test import Client
from django.views.debug import ExceptionReporter
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from clip_search.api.monitoring import Status
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from tests.doubles.qdrant_stub import serving

from .actions import FIELDS, SYNC, broken

pytestmark = pytest.mark.django_db(databases=["default", "other"])
HEALTH, STATUS = "/api/v1/health", "/api/v1/status"
TOKEN = "correct-horse-battery-staple"


# For load balancers.


def test_health_of_a_server_that_can_search(client, settings, django_assert_max_num_queries):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"]
    }
    client.post(SYNC, FIELDS)
    with django_assert_max_num_queries(2):  # one for each document
        answer = Client().get(HEALTH)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "problem": ""})
    assert answer["Cache-Control"] == "no-store"
    assert Client().head(HEALTH).status_code == 200


def test_health_is_not_counted(client, clip_search):
    clip_search(API_THROTTLE_RATE="1/min", API_SEARCH_THROTTLE_RATE="1/min")
    assert {Client().get(HEALTH).status_code for _ in range(5)} == {200}
    basic = Client(headers={"authorization": "Basic bm9ib2R5Ondyb25n"})  # a wrong password does not matter
    assert basic.get(HEALTH).status_code == 200


def test_health_asks_the_store_one_question(client, clip_search):
    with serving() as stub:
        clip_search(QDRANT={"url": stub.url})
        client.post(SYNC, FIELDS)
        before = stub.requests
        assert Client().get(HEALTH).status_code == 200
        assert stub.requests == before + 1


def test_health_waits_for_a_store_that_hangs_as_long_as_a_search_does_and_once(client, clip_search):
    with serving() as stub:
        clip_search(QDRANT={"url": stub.url, "timeout": 3600, "search_timeout": 0.2})
        client.post(SYNC, FIELDS)
        stub.hang()
        before = stub.requests
        answers = [Client().get(HEALTH) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {503}
        assert stub.requests == before + 1


def test_health_without_the_store(client, clip_search, caplog):
    client.post(SYNC, FIELDS)
    clip_search(QDRANT={"url": "http://127.0.0.1:1"})
    answer = Client().get(HEALTH)
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "problem": "store"})
    assert "The store does not answer error=Qdrant did not answer" in caplog.text


def test_health_without_the_database(monkeypatch, caplog):
    monkeypatch.setattr(type(Collection.objects.all()), "live", broken(DatabaseError("secret detail")))
    answer = Client().get(HEALTH)
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "problem": "database"})
    assert "secret detail" in caplog.text


def test_that_nothing_is_indexed_or_a_collection_is_lost_is_no_matter_of_one_server(client):
    assert Client().get(HEALTH).status_code == 200
    client.post(SYNC, FIELDS)
    get_store().destroy(Collection.objects.get().name)
    assert Client().get(HEALTH).status_code == 200


# For monitoring.


@pytest.fixture
def indexed(client) -> None:
    client.post(SYNC, FIELDS)


def bearer(token: str) -> Client:
    return Client(headers={"authorization": f"Bearer {token}"})


def test_the_status_has_what_the_command_prints(client, indexed):
    answer = client.get(STATUS)
    output = io.StringIO()
    call_command("clip_status", "--json", stdout=output)
    expected = json.loads(output.getvalue())
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() | {"checked_at": ""} == expected | {"checked_at": ""}


def test_the_status_is_503_with_the_same_figures_if_something_is_wrong(client, indexed):
    IndexEntry.objects.update(state="failed", error="The price has no value.")
    answer = client.get(STATUS)
    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    assert [problem["message"] for problem in answer.json()["problems"]] == ["1 of product failed"]


def test_how_old_pending_products_may_be(client, indexed):
    IndexEntry.objects.update(state="pending")
    assert client.get(STATUS).status_code == 200
    assert client.get(STATUS, {"max_age": "0"}).status_code == 503
    answer = client.get(STATUS, {"max_age": "long"})
    assert (answer.status_code, list(answer.json())) == (400, ["max_age"])


def test_the_token(clip_search, indexed):
    clip_search(STATUS_TOKEN=TOKEN)
    assert bearer(TOKEN).get(STATUS).status_code == 200
    assert Client(headers={"authorization": f"bearer  {TOKEN} "}).get(STATUS).status_code == 200
    # it opens nothing else
    assert bearer(TOKEN).post(SYNC, FIELDS).status_code == 401


class OtherTokens(BaseAuthentication):
    """Refuses tokens that it does not know, as a host's own class for JSON Web Tokens does."""

    def authenticate(self, request):
        if request.headers.get("authorization", "").startswith("Bearer"):
            raise AuthenticationFailed("The token is not valid.")


def test_a_host_s_own_tokens_do_not_get_in_the_way(clip_search, indexed, monkeypatch):
    monkeypatch.setattr(Status, "authentication_classes", [OtherTokens])
    clip_search(STATUS_TOKEN=TOKEN)
    assert bearer(TOKEN).get(STATUS).status_code == 200
    assert bearer(f"{TOKEN}x").get(STATUS).status_code == 403


@pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "é" * 30, "None"])
@pytest.mark.parametrize("token", [TOKEN, None, ""])
def test_a_wrong_token_is_told_nothing(clip_search, wrong, token):
    clip_search(STATUS_TOKEN=token)
    answer, missing = bearer(wrong).get(STATUS), Client().get(STATUS)
    assert (answer.status_code, answer.json()) == (missing.status_code, missing.json())
    assert answer.status_code == 401


@pytest.mark.parametrize("debug", [True, False])
def test_no_error_page_shows_the_token(clip_search, settings, monkeypatch, debug):
    clip_search(STATUS_TOKEN=TOKEN)
    settings.DEBUG = debug
    monkeypatch.setattr("clip_search.api.monitoring.get_status", broken(ZeroDivisionError()))
    pages = []

    def report(request, **kwargs):
        reporter = ExceptionReporter(request, *sys.exc_info())
        pages.extend([reporter.get_traceback_html(), reporter.get_traceback_text()])

    got_request_exception.connect(report)
    try:
        client = Client(raise_request_exception=False, headers={"authorization": f"Bearer {TOKEN}"})
        assert client.get(STATUS).status_code == 500
    finally:
        got_request_exception.disconnect(report)
    assert len(pages) == 2
    for page in pages:
        assert "ZeroDivisionError" in page
        assert "STATUS_TOKEN" in page
        assert TOKEN not in page


def test_only_staff_may_read_it_otherwise(client):
    shopper = Client()
    shopper.force_login(get_user_model().objects.create(username="shopper"))
    assert shopper.get(STATUS).status_code == 403
    assert client.get(STATUS).status_code == 200
