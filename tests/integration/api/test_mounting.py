"""A host includes the endpoints where and as it likes, beside addresses of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLResolver, include, path
from django.urls.resolvers import RegexPattern

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


# The list, and what is no endpoint.


def test_the_list_has_every_endpoint(client):
    answer = client.get("/api/v1/")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    listed = {(one["method"], one["url"]) for one in answer.json()["endpoints"]}
    real = set()
    for one in urls.urlpatterns:
        view = one.callback.cls
        address = re.sub(r"<\w+:(\w+)>", r"{\1}", str(one.pattern))
        methods = {method for method in ("get", "post", "delete") if hasattr(view, method)}
        real |= {(method.upper(), f"http://testserver/api/v1/{address}") for method in methods}
    hidden = ("DELETE", "http://testserver/api/v1/products/{product_id}/similar")
    assert listed == real - {hidden, ("GET", "http://testserver/api/v1/")}


@pytest.mark.parametrize("way", WAYS)
def test_the_list_is_where_the_host_has_put_it(client, mount, way):
    mount(*WAYS[way])
    urls = [one["url"] for one in client.get("/shop/api/?a=b").json()["endpoints"]]
    assert "http://testserver/shop/api/search" in urls


def test_who_may_not_search_may_not_see_the_list(clip_search):
    assert Client().get("/api/v1/").status_code == 200
    clip_search(API_SEARCH_PERMISSION_CLASSES=["rest_framework.permissions.IsAdminUser"])
    assert Client().get("/api/v1/").status_code == 401


UNKNOWN = [
    "index-product/",
    "index-product/x",
    "index-product-with-image/",
    "index-jobs/",
    "index-jobs/a/b",
    "index-jobs/a/",
    "products/",
    "products/a%0Ab",
    "search/",
    "search/red/mug",
    "search/%0A",
]


@pytest.mark.parametrize("middleware", ["django.middleware.common.CommonMiddleware", None])
@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "options", "head"])
@pytest.mark.parametrize("address", UNKNOWN)
def test_an_address_below_ours_that_is_none_is_a_404_in_json(settings, method, address, middleware):
    settings.MIDDLEWARE = [middleware] if middleware else []
    answer = getattr(Client(), method)(f"/api/v1/{address}")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert method == "head" or answer.json() == {"detail": "There is no such endpoint."}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", ["index-jobs", "products", "orders", "searches/1", "products-of-mine/1"])
def test_addresses_beside_ours_are_the_host_s(settings, mount, method, address):
    mount(path("api/v1/", include("clip_search.api.urls")), path("api/v1/<path:rest>", own))
    assert getattr(Client(), method)(f"/api/v1/{address}").content == b"own"
    mount(path("api/v1/", include("clip_search.api.urls")))
    assert getattr(Client(), method)(f"/api/v1/{address}").status_code == 404  # no redirect, and no error


def test_what_the_host_includes_first_is_the_host_s():
    """So a host keeps a list of its own at the same address, or a page below `products/`."""
    before = [path("api/v1/", own), path("api/v1/products/", own)]
    resolver = URLResolver(RegexPattern(r"^/"), [*before, path("api/v1/", include("clip_search.api.urls"))])
    for address in ("/api/v1/", "/api/v1/products/"):
        assert resolver.resolve(address).func is own
    assert resolver.resolve("/api/v1/search").func is not own
