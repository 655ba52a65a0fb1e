"""The URLs of a shop with a search box: its page, and the endpoints."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

PAGE = """<!doctype html><html lang="en"><title>Shop</title><meta charset="utf-8">
{% load clip_search %}{% search_box action="/search/" %}
<p id="asked">{{ request.GET.urlencode }}</p><a href="/search/">Next</a>"""


def page(request: HttpRequest, **kwargs: str) -> HttpResponse:
    response = HttpResponse(Template(PAGE).render(RequestContext(request)))
    response["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
    )
    return response


urlpatterns = [
    path("api/v1/", include("clip_search.api.urls")),
    path("search/", page),
    path("products/<str:sku>/", page),
]
