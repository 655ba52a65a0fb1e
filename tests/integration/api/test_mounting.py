"""A host includes the endpoints where and as it likes, beside addresses of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from clip_search import checks
from clip_search.api import urls

from .actions import FIELDS, image_file

pytestmark = pytest.mark.django_db


def own(request: HttpRequest, **kwargs: str) -> HttpResponse:
    """Answer as a view of the host."""
    return HttpResponse("own")


@pytest.fixture
def mount(settings, monkeypatch):
    """Return a function that makes patterns the URLs of the host."""

    def mount(*patterns: Any) -> None:
        module = ModuleType("urls_of_a_host")
        module.urlpatterns = [*patterns]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        settings.ROOT_URLCONF = module.__name__

    return mount


WAYS: dict[str, Sequence[Any]] = {
    "included": [path("shop/api/", include("clip_search.api.urls"))],
    "as a list": [path("shop/api/", include(urls.urlpatterns))],
    "in a namespace": [path("shop/api/", include("clip_search.api.urls", namespace="find"))],
    "in two namespaces": [
        path("shop/", include(([path("api/", include("clip_search.api.urls"))], "shop"), namespace="outer"))
    ],
    "one by one": [path(f"shop/api/{one.pattern}", one.callback) for one in urls.urlpatterns],
    "twice": [
        path("other/", include("clip_search.api.urls", namespace="other")),
        path("shop/api/", include("clip_search.api.urls")),
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_address_of_a_job_is_right(client, woken, mount, way):
    mount(*WAYS[way])
    answer = client.post("/shop/api/index-product-with-image", FIELDS | {"image_file": image_file()})
    assert answer.status_code == 202
    url = answer.json()["status_url"]
    assert url == f"http://testserver/shop/api/index-jobs/{answer.json()['job_id']}"
    assert client.get(url).json()["product_id"] == "test-123"


def test_the_address_of_a_job_is_right_below_a_prefix_of_the_server(client, woken):
    data = FIELDS | {"image_file": image_file()}
    answer = client.post("/api/v1/index-product-with-image?a=b", data, SCRIPT_NAME="/shops/1")
    assert answer.json()["status_url"].startswith("http://testserver/shops/1/api/v1/index-jobs/")


@pytest.mark.parametrize("way", WAYS)
def test_the_checks_see_that_the_endpoints_are_mounted(settings, mount, way):
    del settings.REST_FRAMEWORK
    mount(path("", own))
    assert "clip_search.W010" not in {message.id for message in checks.check_settings()}
    mount(*WAYS[way])
    assert "clip_search.W010" in {message.id for message in checks.check_settings()}
