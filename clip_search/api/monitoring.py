"""Two views for machines that watch the shop: one for load balancers, one for monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ..conf import conf
from ..status import find_outage, get_status
from . import responses
from .schema import operation
from .serializers import MaxAgeSerializer
from .views import ApiView

NOT_STORED: Final = {"Cache-Control": "no-store"}


class Health(ApiView):
    """`GET health`: report if this server can answer searches. For load balancers.

    It needs no permission, and requests are not counted: an answer costs a query for each document and one
    request to the store, and says nothing about the shop.
    """

    authentication_classes = ()
    throttle_classes = ()

    def get_permissions(self) -> Sequence[BasePermission]:
        return []

    @operation("health", responses={200: responses.HealthSerializer, 503: responses.HealthSerializer})
    def get(self, request: Request) -> Response:
        """Report if this server can answer searches."""
        outage = find_outage()
        answer = {"status": "unavailable" if outage else "ok", "problem": outage}
        return Response(answer, status=503 if outage else 200, headers=NOT_STORED)


class MayReadStatus(BasePermission):
    """Allows members of staff, and requests with the token in CLIP_SEARCH["STATUS_TOKEN"]."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return has_token(request) or bool(getattr(request.user, "is_staff", False))


class Status(ApiView):
    """`GET status`: return what `clip_status --json` prints, with status 503 if something is wrong."""

    def get_authenticators(self) -> list[BaseAuthentication]:
        # another class might refuse the token, because it does not know it
        known = isinstance(self.request, HttpRequest) and has_token(self.request)
        return [] if known else super().get_authenticators()

    def get_permissions(self) -> Sequence[BasePermission]:
        return [MayReadStatus()]

    @operation(
        "status",
        parameters=[MaxAgeSerializer],
        responses={200: responses.StatusSerializer, 503: responses.StatusSerializer},
    )
    def get(self, request: Request) -> Response:
        """Return what is indexed, what waits, who indexes it, and what is wrong."""
        asked = MaxAgeSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        status = get_status(max_age=asked.validated_data["max_age"])
        return Response(status.as_json(), status=503 if status.problems else 200, headers=NOT_STORED)


def has_token(request: HttpRequest | Request) -> bool:
    """Return whether a request has the header `Authorization: Bearer` with the configured token.

    The token is compared in constant time, and no variable holds it: error pages show variables.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not conf.status_token:
        return False
    return constant_time_compare(token.strip(), conf.status_token)
