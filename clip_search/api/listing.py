"""Two views: a list of all endpoints, and a 404 response in JSON for unknown URLs below them."""

from __future__ import annotations

from typing import Any, Final

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from . import responses
from .schema import operation
from .views import ApiView, SearchView

ENDPOINTS: Final = (
    ("POST", "index-product", "Index a product, and respond when it is searchable."),
    ("POST", "index-product-with-image", "Save a product with its image, and queue its indexing."),
    ("GET", "index-jobs/{job_id}", "Return the state of a requested indexing."),
    ("DELETE", "products/{product_id}", "Delete a posted product."),
    ("GET", "products/{product_id}/similar", "Find products that are similar to this one."),
    ("GET", "search", "Search products by words."),
    ("POST", "search", "Search products by an image, with or without words."),
    ("GET", "suggest", "Suggest queries, products and categories for the beginning of a query."),
    ("GET", "health", "Report if this server can answer searches."),
    ("GET", "status", "Return what is indexed, what waits and what is wrong."),
)
"""The HTTP method, the URL and a description of each endpoint."""


class Endpoints(SearchView):
    """`GET` at the URL under which the shop included the endpoints: list all endpoints."""

    is_search_view = False

    @operation("endpoints", responses={200: responses.EndpointsSerializer})
    def get(self, request: Request) -> Response:
        """List the endpoints."""
        base = request.build_absolute_uri(request.path)
        endpoints = [
            {"method": method, "url": f"{base}{address}", "description": description}
            for method, address, description in ENDPOINTS
        ]
        return Response({"endpoints": endpoints})


class Unknown(ApiView):
    """Answers every request to an unknown URL below the endpoints with 404, in JSON."""

    schema = None  # type: ignore[assignment]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is no such endpoint.")
