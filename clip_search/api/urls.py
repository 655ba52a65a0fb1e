"""The URLs of the endpoints. A shop includes them: `path("api/v1/", include("clip_search.api.urls"))`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction
from django.urls import path, re_path
from django.views.decorators.common import no_append_slash

from . import listing, monitoring, views

app_name = "clip_search"


def outside_transactions(view: Callable[..., Any]) -> Callable[..., Any]:
    """Exempt a view from `ATOMIC_REQUESTS` of every database, because it must commit before it responds."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


urlpatterns = [
    path("", outside_transactions(listing.Endpoints.as_view()), name="endpoints"),
    path("index-product", outside_transactions(views.IndexProduct.as_view()), name="index-product"),
    path(
        "index-product-with-image",
        outside_transactions(views.IndexProductWithImage.as_view()),
        name="index-product-with-image",
    ),
    path("index-jobs/<str:job_id>", outside_transactions(views.IndexJob.as_view()), name="index-job"),
    path("products/<path:product_id>/similar", outside_transactions(views.Similar.as_view()), name="similar"),
    path("products/<path:product_id>", outside_transactions(views.Product.as_view()), name="product"),
    path("search", outside_transactions(views.Search.as_view()), name="search"),
    path("suggest", outside_transactions(views.Suggest.as_view()), name="suggest"),
    path("health", outside_transactions(monitoring.Health.as_view()), name="health"),
    path("status", outside_transactions(monitoring.Status.as_view()), name="status"),
    # Only for URLs that begin like ours, because the shop may have other URLs beside them. APPEND_SLASH must
    # not redirect to a URL with a slash at its end, because that URL would match this pattern.
    re_path(
        r"^(?:index-product|index-product-with-image|index-jobs|products|search|suggest|health|status)/[\s\S]*$",
        no_append_slash(outside_transactions(listing.Unknown.as_view())),
        name="unknown",
    ),
]
