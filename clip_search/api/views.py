"""The HTTP endpoints. Each view validates a request, calls a function of another module, and responds."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.http import Http404, HttpRequest, QueryDict
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from .. import posting
from ..conf import conf
from ..documents.binding import BoundDocument
from ..models import Collection, IndexEntry, PostedProduct
from ..searching import search, search_by_image, similar_to, suggest
from . import permissions, responses
from .errors import Conflict, LengthRequired, Unavailable, as_http
from .parsers import FormParser, JSONParser, MultiPartParser
from .schema import ApiSchema, hidden, operation
from .search import is_indexed, page_of, split_parameters, suggested
from .serializers import (
    ImageSerializer,
    NearPhotoSerializer,
    PageSerializer,
    PhotoSerializer,
    ProductSerializer,
    ProductWithImageSerializer,
    SearchSerializer,
    SuggestSerializer,
    too_large,
)
from .throttles import ApiThrottle, SearchThrottle, SuggestThrottle, WriteThrottle

logger = logging.getLogger(__name__)

MAX_TEXT_BODY = 2_621_440
"""The most bytes of a request without its image: Django's default of DATA_UPLOAD_MAX_MEMORY_SIZE."""


class Negotiation(DefaultContentNegotiation):
    """Chooses the format of a response by the Accept header only.

    DRF's query parameter `format` is ignored, because a document may have a filter of that name.
    """

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        return list(renderers)


class ApiView(APIView):
    """Base class of all endpoints: JSON responses, strict parsers, and the errors of `as_http()`."""

    schema = ApiSchema()
    content_negotiation_class = Negotiation
    renderer_classes = (JSONRenderer,)
    parser_classes: Sequence[type[BaseParser]] = (MultiPartParser, FormParser, JSONParser)
    throttle_classes: Sequence[type[ApiThrottle]] = (WriteThrottle,)

    is_for_staff = False
    """Whether a member of staff has sent the request. False until the user is authenticated."""

    def get_permissions(self) -> Sequence[BasePermission]:
        return permissions.instances(conf.api_permission_classes)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        if (request.encoding or "utf-8").lower() not in ("utf-8", "utf8"):
            request.encoding = "utf-8"  # a client may name a Python codec that is no text encoding
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # before super().initial(), because the CSRF check there may read the body
        check_coding(request)
        self.check_body_size(request)
        super().initial(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        self.is_for_staff = bool(getattr(request.user, "is_staff", False))

    def check_body_size(self, request: Request) -> None:
        """Raise ParseError if the request body is too large, before any of it is read."""
        if content_length(request) > MAX_TEXT_BODY:
            raise ParseError(
                f"The request is larger than {MAX_TEXT_BODY} bytes. Send less. An image goes to "
                "index-product-with-image or search, as multipart/form-data."
            )

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(as_http(exc, for_staff=self.is_for_staff))


def check_coding(request: Request) -> None:
    """Raise UnsupportedMediaType for a compressed body, and LengthRequired for a chunked one."""
    if request.method != "POST":
        return
    coding = request.META.get("HTTP_CONTENT_ENCODING", "")
    if coding.strip().lower() not in ("", "identity"):
        message = f"A body with Content-Encoding {coding!r:.30} cannot be read. Send it without compression."
        raise UnsupportedMediaType(coding, message)
    if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
        raise LengthRequired


def content_length(request: Request) -> int:
    """Return the Content-Length of a request, or 0 without one. No server reads more than this."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


class ImageView(ApiView):
    """Base class of endpoints that accept an image, and so a larger request."""

    def check_body_size(self, request: Request) -> None:
        """Allow a larger body only for multipart forms: JSON takes twenty times its size in memory."""
        if not str(request.content_type).lower().startswith("multipart/"):
            super().check_body_size(request)
        elif content_length(request) > conf.max_image_bytes + MAX_TEXT_BODY:
            raise ValidationError(too_large())


class IndexProduct(ApiView):
    """`POST index-product`: index a product, and respond when it is searchable."""

    serializer_class: ClassVar[type[ProductSerializer]] = ProductSerializer

    @operation(
        "index_product",
        request=ProductSerializer,
        responses={200: responses.IndexedSerializer},
        errors=(409, 411, 415),
    )
    def post(self, request: Request) -> Response:
        """Index a product now, and respond when it is searchable."""
        document = posting.api_document()
        data = self.validated(request, document)
        posting.post_product(**data, document=document, wake=False)
        dimension = indexed_now(document, data["product_id"])
        message = f"Product {data['product_id']} indexed successfully"
        return Response({"status": "success", "message": message, "embedding_dimension": dimension})

    def validated(self, request: Request, document: BoundDocument) -> dict[str, Any]:
        """Return the validated data of the request. Raises ValidationError if it is invalid."""
        serializer = self.serializer_class(data=request.data, context={"document": document})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


def indexed_now(document: BoundDocument, product_id: str) -> int:
    """Index a posted product now, and return the dimension of its vectors.

    If that fails, raise Postponed, Conflict, Unavailable or ValidationError.
    """
    entry = posting.index_posted(document, product_id)
    if entry.state == IndexEntry.State.REMOVED:
        raise Conflict(f"Product {product_id} was deleted meanwhile.")
    if entry.state == IndexEntry.State.FAILED:
        # the product may have a damaged image from an earlier post; its text is searchable nevertheless
        posted = PostedProduct.objects.of(document).filter(uuid=entry.uuid).exclude(image="")
        raise ValidationError({"image_file" if posted.exists() else "detail": [entry.error]})
    live = Collection.objects.live(document)
    if live is None:
        reason = "The store has just lost its collection."
        raise Unavailable(f"Product {product_id} is saved and will be indexed, but not now. {reason}")
    return live.dimension


class IndexProductWithImage(ImageView, IndexProduct):
    """`POST index-product-with-image`: save a product with its image, and let a worker index it."""

    serializer_class = ProductWithImageSerializer

    @operation(
        "index_product_with_image",
        request={"multipart/form-data": ProductWithImageSerializer},
        responses={202: responses.QueuedSerializer},
        errors=(411, 415),
    )
    def post(self, request: Request) -> Response:
        """Save a product with its image, and queue its indexing for a worker."""
        document = posting.api_document()
        data = self.validated(request, document)
        image = data.pop("image_file")
        entry = posting.post_product(**data, image=image, document=document, wake=False)
        job_id = posting.job_id(entry)
        latest, message = posting.announce(document, entry)
        answer = {
            "status": posting.job_status(latest, entry.revision),
            "message": message,
            "product_id": entry.product_id,
            "job_id": job_id,
            # a relative URL, because the shop may include the endpoints in any namespace, or in none
            "status_url": request.build_absolute_uri(f"index-jobs/{job_id}"),
        }
        return Response(answer, status=202)


class IndexJob(ApiView):
    """`GET index-jobs/<job_id>`: return the state of a requested indexing."""

    @operation("index_job", responses={200: responses.JobSerializer}, errors=(404,))
    def get(self, request: Request, job_id: str) -> Response:
        """Return the state of a requested indexing."""
        found = posting.find_job(posting.api_document(), job_id)
        if found is None:
            raise Http404
        entry, revision = found
        return Response(
            {
                "job_id": job_id,
                "product_id": entry.product_id,
                "status": posting.job_status(entry, revision),
                "error": entry.error,
                "revision": revision,
                "indexed_revision": entry.indexed_revision,
                "attempts": entry.attempts,
            }
        )


class Product(ApiView):
    """`DELETE products/<product_id>`: delete a posted product. The id may contain slashes."""

    @operation("delete_product", responses={204: None}, errors=(404,))
    def delete(self, request: Request, product_id: str) -> Response:
        """Delete a posted product."""
        if not posting.delete_product(product_id):
            raise Http404
        return Response(status=204)


class SearchView(ApiView):
    """Base class of the search endpoints, which have permissions and a throttle of their own."""

    is_search_view = True

    def is_search(self) -> bool:
        """Return whether this request only searches, so that the settings for searching apply."""
        return True

    def get_permissions(self) -> Sequence[BasePermission]:
        if self.is_search():
            return permissions.instances(conf.api_search_permission_classes)
        return super().get_permissions()

    def get_throttles(self) -> list[BaseThrottle]:
        return [SearchThrottle()] if self.is_search() else super().get_throttles()

    def asked(
        self, serializer_class: type[PageSerializer], params: QueryDict, document: BoundDocument
    ) -> dict[str, Any]:
        """Return the validated parameters. All others are "filters", or "options" of facets.

        Raises ValidationError if a parameter is invalid.
        """
        serializer = serializer_class(data=params, context={"document": document})
        serializer.is_valid(raise_exception=True)
        filters, options = split_parameters(document, params, known=serializer.fields)
        return {**serializer.validated_data, "filters": filters, "options": options}


class Search(SearchView, ImageView):
    """`GET search?q=…` searches by words, `POST search` by an image, with or without words."""

    parser_classes = (MultiPartParser,)

    @operation("search", parameters=[SearchSerializer], responses={200: responses.ResultsSerializer})
    def get(self, request: Request) -> Response:
        """Search products by words."""
        document = posting.api_document()
        asked = self.asked(SearchSerializer, request.query_params, document)
        options = {name: asked[name] for name in ("filters", "min_score", "everything")}
        return Response(page_of(search(document, asked["q"], **options), asked))

    @operation(
        "search_by_image",
        parameters=[NearPhotoSerializer],
        request=ImageSerializer,
        responses={200: responses.ResultsSerializer},
        errors=(411, 415),
    )
    def post(self, request: Request) -> Response:
        """Search products by an image, with or without words.

        The other parameters may be in the URL or in the form.
        """
        document = posting.api_document()
        params = request.query_params.copy()
        params.update(request.data)
        asked = self.asked(PhotoSerializer, params, document)
        image = asked["image_file"]
        options = {"filters": asked["filters"], "min_score": asked["min_score"]}
        if asked["q"]:
            return Response(page_of(search(document, asked["q"], image=image, **options), asked))
        return Response(page_of(search_by_image(document, image, **options), asked))


class Suggest(SearchView):
    """`GET suggest?q=…`: suggest queries, products and categories while a shopper types."""

    is_search_view = False  # it has no filters

    def get_throttles(self) -> list[BaseThrottle]:
        return [SuggestThrottle()]

    @operation("suggest", parameters=[SuggestSerializer], responses={200: responses.SuggestionsSerializer})
    def get(self, request: Request) -> Response:
        """Suggest queries, products and categories for the beginning of a query."""
        serializer = SuggestSerializer(data=request.query_params)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        return Response(suggested(suggest(posting.api_document(), asked["q"], limit=asked["limit"])))


class Similar(SearchView, Product):
    """`GET products/<product_id>/similar`: find similar products.

    A DELETE request to this URL deletes the product whose id ends with "/similar".
    """

    def is_search(self) -> bool:
        return self.request.method in SAFE_METHODS

    @operation(
        "similar_products",
        parameters=[PageSerializer],
        responses={200: responses.ResultsSerializer},
        errors=(404,),
    )
    def get(self, request: Request, product_id: str) -> Response:
        """Find products that are similar to this one."""
        document = posting.api_document()
        asked = self.asked(PageSerializer, request.query_params, document)
        if not is_indexed(document, product_id):
            raise Http404
        options = {"filters": asked["filters"], "min_score": asked["min_score"]}
        return Response(page_of(similar_to(document, product_id, **options), asked))

    @hidden
    def delete(self, request: Request, product_id: str) -> Response:
        return super().delete(request, f"{product_id}/similar")
