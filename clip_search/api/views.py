"""The endpoints: parse, call one function of a lower layer, report."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, QueryDict, UnreadablePostError
from django.urls import reverse
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ..conf import conf
from ..documents import Document
from ..exceptions import BadImage, SearchUnavailable, SetupError, SurroundingsError, in_one_line
from ..searching import search, search_by_image, similar_to
from . import answers, permissions, posting
from .described import described, inspector
from .finding import filters_of, is_indexed, page_of
from .parsers import FormParser, JSONParser, MultiPartParser
from .serializers import (
    MAX_MESSAGE,
    ImageSerializer,
    NearSerializer,
    PageSerializer,
    PhotoSerializer,
    ProductSerializer,
    ProductWithImageSerializer,
    SearchSerializer,
    too_large,
)
from .throttles import ApiThrottle, SearchThrottle, WriteThrottle

logger = logging.getLogger(__name__)

app_name = "clip_search"

MAX_TEXT_BODY = 2_621_440
"""Bytes of a request beside its image: Django's own default of DATA_UPLOAD_MAX_MEMORY_SIZE."""


class Negotiation(DefaultContentNegotiation):
    """By the Accept header alone: `format` may be a filter, as of books."""

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        return list(renderers)


class ApiView(APIView):
    """What all endpoints share: JSON out, strict parsers, no 5xx for bad input, honest 503s."""

    schema = inspector()
    content_negotiation_class = Negotiation
    renderer_classes = (JSONRenderer,)
    parser_classes: Sequence[type[BaseParser]] = (MultiPartParser, FormParser, JSONParser)
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
    if isinstance(exc, OperationalError | InterfaceError | OSError):
        # a database that is down, locked for too long or full, a disk or a storage that takes no file
        logger.error("Cannot answer error=%s", in_one_line(exc))
        return posting.Unavailable("This cannot be done now. Send it again later: twice does no harm.")
    if isinstance(exc, SearchUnavailable | SurroundingsError | SetupError):
        logger.warning("Cannot answer error=%s", in_one_line(exc))
        return posting.Unavailable("This is unavailable now. Try again later.")
    if isinstance(exc, BadImage):  # a damaged body shows only when it is decoded
        return ValidationError({"image_file": [str(exc)[:MAX_MESSAGE]]})
    return exc


class ImageView(ApiView):
    """An endpoint that takes an image: its requests may be larger by one."""

    def check_body_size(self, request: Request) -> None:
        """Let forms with files be larger; JSON would take twenty times its size in memory."""
        if not str(request.content_type).lower().startswith("multipart/"):
            super().check_body_size(request)
        elif content_length(request) > conf.max_image_bytes + MAX_TEXT_BODY:
            raise ValidationError(too_large())


class IndexProduct(ApiView):
    """`POST index-product`: answered once the product is searchable."""

    serializer_class: ClassVar[type[ProductSerializer]] = ProductSerializer

    @described(
        name="index_product",
        body=ProductSerializer,
        answers={200: answers.IndexedSerializer},
        errors=(409, 415),
    )
    def post(self, request: Request) -> Response:
        """Index a product now, and answer once it is searchable."""
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


class IndexProductWithImage(ImageView, IndexProduct):
    """`POST index-product-with-image`: kept and announced; neither the model nor the store is touched."""

    serializer_class = ProductWithImageSerializer

    @described(
        name="index_product_with_image",
        body=ProductWithImageSerializer,
        body_types=("multipart/form-data",),
        answers={202: answers.QueuedSerializer},
        errors=(415,),
    )
    def post(self, request: Request) -> Response:
        """Keep a product and its image, and have a worker index it."""
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

    @described(name="index_job", answers={200: answers.JobSerializer}, errors=(404,))
    def get(self, request: Request, job_id: str) -> Response:
        """Say how indexing a product stands."""
        return Response(posting.job(posting.api_document(), job_id))


class Product(ApiView):
    """`DELETE products/<product_id>`. The id may hold slashes: what follows `products/` is all of it."""

    @described(name="forget_product", answers={204: None}, errors=(404,))
    def delete(self, request: Request, product_id: str) -> Response:
        """Forget what was posted for a product."""
        if not posting.forget(posting.api_document(), product_id):
            raise Http404
        return Response(status=204)


class SearchView(ApiView):
    """What the search endpoints share: their own permissions and rate, where they only read."""

    def is_search(self) -> bool:
        """Say whether the request only searches."""
        return True

    def get_permissions(self) -> Sequence[BasePermission]:
        if self.is_search():
            return permissions.instances(conf.api_search_permission_classes)
        return super().get_permissions()

    def get_throttles(self) -> list[BaseThrottle]:
        return [SearchThrottle()] if self.is_search() else super().get_throttles()

    def asked(
        self, serializer_class: type[PageSerializer], params: QueryDict, document: Document
    ) -> dict[str, Any]:
        """Return the parameters, checked; those that are no other are `filters`. Raises ValidationError."""
        serializer = serializer_class(data=params, context={"document": document})
        serializer.is_valid(raise_exception=True)
        filters = filters_of(document, params, known=serializer.fields)
        return {**serializer.validated_data, "filters": filters}


class Search(SearchView, ImageView):
    """`GET search?q=…` by words, `POST search` by a photo."""

    parser_classes = (MultiPartParser,)

    @described(
        name="search",
        query=SearchSerializer,
        filters=True,
        answers={200: answers.ResultsSerializer},
    )
    def get(self, request: Request) -> Response:
        """Find products by words."""
        document = posting.api_document()
        asked = self.asked(SearchSerializer, request.query_params, document)
        return Response(page_of(search(document, asked["q"], filters=asked["filters"]), asked))

    @described(
        name="search_by_image",
        query=NearSerializer,
        filters=True,
        body=ImageSerializer,
        answers={200: answers.ResultsSerializer},
        errors=(415,),
    )
    def post(self, request: Request) -> Response:
        """Find products by a photo. Parameters may stand in the address or in the form."""
        document = posting.api_document()
        params = request.query_params.copy()
        params.update(request.data)
        asked = self.asked(PhotoSerializer, params, document)
        near = {"filters": asked["filters"], "min_score": asked.get("min_score")}
        return Response(page_of(search_by_image(document, asked["image_file"], **near), asked))


class Similar(SearchView, Product):
    """`GET products/<product_id>/similar`. To delete at this address is to delete an id that ends so."""

    def is_search(self) -> bool:
        return self.request.method in SAFE_METHODS

    @described(
        name="similar_products",
        query=NearSerializer,
        filters=True,
        answers={200: answers.ResultsSerializer},
        errors=(404,),
    )
    def get(self, request: Request, product_id: str) -> Response:
        """Find products like this one."""
        document = posting.api_document()
        asked = self.asked(NearSerializer, request.query_params, document)
        if not is_indexed(document, product_id):
            raise Http404
        near = {"filters": asked["filters"], "min_score": asked.get("min_score")}
        return Response(page_of(similar_to(document, product_id, **near), asked))

    def delete(self, request: Request, product_id: str) -> Response:
        return super().delete(request, f"{product_id}/similar")
