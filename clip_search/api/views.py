"""The endpoints: parse, call one function of a lower layer, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import Http404, HttpRequest, UnreadablePostError
from django.urls import reverse
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ..conf import conf
from ..documents import Document
from ..exceptions import SearchUnavailable, SetupError, SurroundingsError
from ..searching import DEPTH, search
from . import permissions, posting
from .parsers import FormParser, JSONParser, MultiPartParser
from .serializers import ProductSerializer, ProductWithImageSerializer, SearchSerializer, too_large
from .throttles import ApiThrottle, SearchThrottle, WriteThrottle

logger = logging.getLogger(__name__)

app_name = "clip_search"

MAX_TEXT_BODY = 2_621_440
"""Bytes of a request beside its image: Django's own default of DATA_UPLOAD_MAX_MEMORY_SIZE."""


class ApiView(APIView):
    """What all endpoints share: JSON out, strict parsers, no 5xx for bad input, honest 503s."""

    renderer_classes = (JSONRenderer,)
    parser_classes = (MultiPartParser, FormParser, JSONParser)
    throttle_classes: Sequence[type[ApiThrottle]] = (WriteThrottle,)

    def get_permissions(self) -> Sequence[BasePermission]:
        return permissions.instances(conf.api_permission_classes)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        if (request.encoding or "utf-8").lower() not in ("utf-8", "utf8"):
            request.encoding = "utf-8"  # Python has codecs that a client may name and that decode no text
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.check_body_size(request)  # before anything, CSRF checks included, reads the body
        super().initial(request, *args, **kwargs)

    def check_body_size(self, request: Request) -> None:
        """Refuse a body that is too large before any of it is read."""
        if content_length(request) > MAX_TEXT_BODY:
            raise ParseError(f"The request is larger than {MAX_TEXT_BODY} bytes. Send less.")

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(as_answer(exc))


def content_length(request: Request) -> int:
    """Return the length that the client announces; no server reads beyond it."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def namespace(request: Request) -> str:
    """Return the namespace that the host mounted the endpoints under."""
    match = request.resolver_match
    return match.namespace if match else app_name


def as_answer(exc: Exception) -> Exception:
    """Turn what is the client's fault into a 400, and what is out of order into a 503 without secrets."""
    if isinstance(exc, SuspiciousOperation | BadRequest):
        return ParseError(str(exc) or "The request is malformed.")
    if isinstance(exc, UnreadablePostError):
        return ParseError("The request ended early. Send it again.")
    if isinstance(exc, posting.NoDocument):
        return posting.Unavailable(str(exc))
    if isinstance(exc, SearchUnavailable | SurroundingsError | SetupError):
        logger.warning("Cannot answer error=%s", exc)
        return posting.Unavailable("This is unavailable now. Try again later.")
    return exc


class IndexProduct(ApiView):
    """`POST index-product`: answered once the product is searchable."""

    serializer_class: ClassVar[type[ProductSerializer]] = ProductSerializer

    def post(self, request: Request) -> Response:
        document = posting.api_document()
        data = self.validated(request, document)
        posting.keep(document, data["product_id"], data)
        dimension = posting.index(document, data["product_id"])
        message = f"Product {data['product_id']} indexed successfully"
        return Response({"status": "success", "message": message, "embedding_dimension": dimension})

    def validated(self, request: Request, document: Document) -> dict[str, Any]:
        """Return what was sent, checked. Raises ValidationError."""
        serializer = self.serializer_class(data=request.data, context={"document": document})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class IndexProductWithImage(IndexProduct):
    """`POST index-product-with-image`: kept and announced; neither the model nor the store is touched."""

    serializer_class = ProductWithImageSerializer

    def check_body_size(self, request: Request) -> None:
        if content_length(request) > conf.max_image_bytes + MAX_TEXT_BODY:
            raise ValidationError(too_large())

    def post(self, request: Request) -> Response:
        document = posting.api_document()
        data = self.validated(request, document)
        image = data.pop("image_file")
        entry = posting.keep(document, data["product_id"], data, image)
        job_id = posting.job_id(entry)
        latest, message = posting.announce(document, entry)
        status_path = reverse(f"{namespace(request)}:index-job", kwargs={"job_id": job_id})
        answer = {
            "status": posting.job_status(latest, entry.revision),
            "message": message,
            "product_id": entry.product_id,
            "job_id": job_id,
            "status_url": request.build_absolute_uri(status_path),
        }
        return Response(answer, status=202)


class IndexJob(ApiView):
    """`GET index-jobs/<job_id>`."""

    def get(self, request: Request, job_id: str) -> Response:
        return Response(posting.job(posting.api_document(), job_id))


class Product(ApiView):
    """`DELETE products/<product_id>`. The id may hold slashes: what follows `products/` is all of it."""

    def delete(self, request: Request, product_id: str) -> Response:
        if not posting.forget(posting.api_document(), product_id):
            raise Http404
        return Response(status=204)


class Search(ApiView):
    """`GET search?q=…`."""

    throttle_classes = (SearchThrottle,)

    def get_permissions(self) -> Sequence[BasePermission]:
        return permissions.instances(conf.api_search_permission_classes)

    def get(self, request: Request) -> Response:
        asked = SearchSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        page, size = asked.validated_data["page"], asked.validated_data["page_size"]
        results = search(posting.api_document(), asked.validated_data["q"])
        hits = results[(page - 1) * size : min(page * size, DEPTH)].hits()
        answer = {"count": results.count(), "page": page, "page_size": size}
        fields = ("product_id", "score", "source", "payload")
        return Response(answer | {"results": [{f: getattr(hit, f) for f in fields} for hit in hits]})
