"""The list of the endpoints, and the answer to addresses below theirs that are none."""

from __future__ import annotations

from typing import Any, Final

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from . import responses
from .schema import operation
from .views import ApiView, SearchView

ENDPOINTS: Final = (
    ("POST", "index-product", "Index a product, and answer once it is searchable."),
    ("POST", "index-product-with-image", "Save a product with its image, and queue it for a worker."),
    ("GET", "index-jobs/{job_id}", "The state of an indexing job."),
    ("DELETE", "products/{product_id}", "Delete a posted product."),
    ("GET", "products/{product_id}/similar", "Find products like this one."),
    ("GET", "search", "Find products by words."),
    ("POST", "search", "Find products by a photo."),
)
"""Method, address and description."""


class Endpoints(SearchView):
    """`GET` of the address at which the host has included the endpoints."""

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
    """Any request to an address that begins like an endpoint's and is none: a 404 in JSON."""

    schema = None  # type: ignore[assignment]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise NotFound("There is no such endpoint.")
