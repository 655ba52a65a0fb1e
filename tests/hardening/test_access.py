"""Every door at once, found by walking the endpoints: a new one that is left open fails here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from clip_search import outbox
from clip_search.api import urls
from clip_search.api.views import ApiView
from clip_search.exceptions import StoreUnavailable
from clip_search.indexing import inline
from clip_search.models import IndexEntry, PostedProduct
from tests.conftest import picture_bytes

pytestmark = pytest.mark.django_db(databases=["default", "other"])

SEARCHES = {
    ("endpoints", "get"),
    ("search", "get"),
    ("search", "post"),
    ("similar", "get"),
    ("suggest", "get"),
}
"""What anybody may do, unless API_SEARCH_PERMISSION_CLASSES says otherwise. Nothing of it writes."""
OPEN = SEARCHES | {("health", "get")}
"""What anybody may do. A load balancer asks for the health, which is neither closed nor counted."""
PATTERNS = [pattern for pattern in urls.urlpatterns if pattern.name != "unknown"]
"""All but the one that answers every request with 404, and nothing else."""
METHODS = ("get", "post", "put", "patch", "delete", "options", "head", "trace")
ARGUMENTS = {"product_id": "posted", "job_id": "11111111-2222-5333-8444-555555555555.1"}
SAFE = {"get", "head", "options", "trace"}


def doors() -> Iterator[tuple[str, str, str]]:
    """Yield the name, the method and the address of all that the endpoints answer to."""
    for pattern in PATTERNS:
        view = pattern.callback.cls
        assert issubclass(view, ApiView)
        wanted = {name: ARGUMENTS[name] for name in pattern.pattern.converters}
        for method in METHODS:
            if hasattr(view, method) or (method == "head" and hasattr(view, "get")):
                yield pattern.name, method, reverse(f"clip_search:{pattern.name}", kwargs=wanted)


DOORS = sorted(doors())
COUNTED = [door for door in DOORS if door[0] != "health" and door[1] != "options"]
CLOSED = [door for door in DOORS if door[:2] not in OPEN and door[1] not in ("head", "options")]


def knock(client: Client, method: str, url: str, **headers: str) -> int:
    """Send what would be taken from the right person."""
    fields = {"product_id": "hostile", "name": "Hostile"}
    if method == "post":
        fields["image_file"] = picture()
        return client.post(url, fields, headers=headers).status_code
    return getattr(client, method)(url, headers=headers).status_code


def picture() -> SimpleUploadedFile:
    return SimpleUploadedFile("mug.png", picture_bytes())


@pytest.fixture
def staff(settings) -> Client:
    """Return a member of staff, who has posted something."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}  # which nobody listens to
    client = Client(enforce_csrf_checks=True)
    user = get_user_model()(username="staff", is_staff=True)
    user.set_password("secret")
    user.save()
    client.force_login(user)
    basic = {"authorization": "Basic c3RhZmY6c2VjcmV0"}
    answer = Client(headers=basic).post(
        reverse("clip_search:index-product-with-image"),
        {"product_id": "posted", "name": "Mug", "image_file": picture()},
    )
    assert answer.status_code == 202
    return client


@pytest.fixture
def untouched(staff) -> Iterator[None]:
    """Say that the test changed nothing."""

    def state() -> list[object]:
        return [list(IndexEntry.objects.values()), list(PostedProduct.objects.values())]

    before = state()
    yield
    assert state() == before


def test_what_is_open_exists_and_everything_else_is_described():
    assert {door[:2] for door in DOORS} >= OPEN
    for pattern in PATTERNS:
        methods = {method for name, method, _ in DOORS if name == pattern.name} - {"head", "options"}
        described = {m for m in methods if hasattr(getattr(pattern.callback.cls, m), "kwargs")}
        assert described == methods
    assert len(CLOSED) >= 5


@pytest.mark.parametrize(("name", "method", "url"), CLOSED)
def test_nobody_gets_in(untouched, name, method, url):
    assert knock(Client(), method, url) == 401


@pytest.mark.parametrize(("name", "method", "url"), CLOSED)
def test_shoppers_do_not_get_in(untouched, name, method, url):
    shopper = Client()
    shopper.force_login(get_user_model().objects.create(username="shopper"))
    assert knock(shopper, method, url) == 403


@pytest.mark.parametrize(("name", "method", "url"), CLOSED)
def test_staff_who_have_left_do_not_get_in(untouched, name, method, url):
    get_user_model().objects.update(is_active=False)
    left = Client()
    assert knock(left, method, url, authorization="Basic c3RhZmY6c2VjcmV0") == 401


@pytest.mark.parametrize(("name", "method", "url"), [door for door in CLOSED if door[1] not in SAFE])
def test_nobody_is_led_in_by_a_form_of_another_site(untouched, staff, name, method, url):
    assert knock(staff, method, url, origin="https://evil.example") == 403
    assert knock(staff, method, url) == 403


@pytest.mark.parametrize(("name", "method", "url"), [door for door in DOORS if door[1] == "options"])
def test_options_tell_strangers_nothing_of_closed_doors(staff, name, method, url):
    expected = 200 if name in {opened for opened, _ in OPEN} else 401
    answer = Client().options(url)
    # the permissions of searching hold where nothing but searching is answered
    assert answer.status_code == expected
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize(("name", "method", "url"), COUNTED)
def test_every_door_counts_who_knocks(staff, settings, name, method, url):
    names = ("API_THROTTLE_RATE", "API_SEARCH_THROTTLE_RATE", "API_SUGGEST_THROTTLE_RATE")
    rates = dict.fromkeys(names, "1/min")
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | rates
    cache.clear()  # of the request that the fixture made
    basic = {"authorization": "Basic c3RhZmY6c2VjcmV0"}
    first, second = (knock(Client(), method, url, **basic) for _ in range(2))
    assert first != 429
    assert second == 429


@pytest.mark.parametrize(("name", "method"), sorted(SEARCHES))
def test_search_can_be_closed_too(staff, settings, name, method):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {
        "API_SEARCH_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"]
    }
    (url,) = {url for other, verb, url in DOORS if (other, verb) == (name, method)}
    assert knock(Client(), method, url) == 401


FORGED = "Mug\n2026-11-24 03:00:00 CRITICAL forged"


@pytest.mark.parametrize("error", [OperationalError(FORGED), StoreUnavailable(), ValueError(FORGED)])
def test_nobody_writes_a_line_of_the_log(staff, monkeypatch, caplog, error):
    """A name with a line break is a name; in the log it is shown as one, and begins no line of its own."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    basic = Client(headers={"authorization": "Basic c3RhZmY6c2VjcmV0"}, raise_request_exception=False)
    fields = {"product_id": "m", "name": FORGED, "description": FORGED, "metadata": FORGED}
    with monkeypatch.context() as patching:
        where = (PostedProduct, "content") if isinstance(error, ValueError) else (inline, "index_due")
        patching.setattr(*where, fail)
        assert basic.post(reverse("clip_search:index-product"), fields).status_code in (400, 503)
    if isinstance(error, OperationalError):
        monkeypatch.setattr(outbox, "schedule", fail)
        assert basic.post(reverse("clip_search:index-product"), fields).status_code == 503
    basic.get(reverse("clip_search:search"), {"q": FORGED})
    ours = [record for record in caplog.records if record.name.startswith("clip_search")]
    assert ours
    assert not [record.getMessage() for record in ours if "\n" in record.getMessage()]
