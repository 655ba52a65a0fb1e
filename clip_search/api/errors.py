"""Turns Python exceptions into HTTP errors with status 400, 409 or 503, without internal details."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import UnreadablePostError
from rest_framework.exceptions import APIException, ParseError, ValidationError

from ..exceptions import BackendUnavailable, BadImage, Postponed, SearchUnavailable, SetupError, in_one_line
from ..models.tables import missing_table
from .serializers import MAX_MESSAGE

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

logger = logging.getLogger(__name__)

RETRY_AFTER: Final = 10
MAX_REASON: Final = 1000
"""The most characters of the reason in a 503 response to staff."""


class Unavailable(APIException):
    """An HTTP error with status 503 and the header `Retry-After`."""

    status_code = 503
    default_code = "unavailable"

    def __init__(self, detail: str | _StrPromise, wait: int = RETRY_AFTER) -> None:
        super().__init__(detail)
        self.wait = wait


class LengthRequired(APIException):
    """An HTTP error with status 411: without Content-Length, Django and DRF would read an empty body."""

    status_code = 411
    default_code = "length_required"
    default_detail = "The body has no Content-Length. Send that header, and not Transfer-Encoding: chunked."


class Conflict(APIException):
    """An HTTP error with status 409: another request has just changed the product."""

    status_code = 409
    default_code = "conflict"


def as_http(error: Exception, *, for_staff: bool = False) -> Exception:
    """Return the DRF exception that answers this error. Other errors are returned unchanged (status 500).

    A 503 gives the reason only to members of staff, because others must not learn internal details.
    """
    if isinstance(error, SuspiciousOperation | BadRequest):
        return ParseError(str(error) or "The request is malformed.")
    if isinstance(error, UnreadablePostError):
        return ParseError("The request is incomplete. Send it again.")
    if isinstance(error, Postponed):
        return _unavailable(str(error), error.__cause__ or "", for_staff)
    is_missing = missing_table(error)
    if isinstance(error, OperationalError | InterfaceError | OSError) or is_missing:
        # the database is down, full or locked for too long, or a file cannot be saved
        logger.error("Cannot answer error=%s", is_missing or in_one_line(error))
        sentence = "The request failed. Send it again later; sending it twice does no harm."
        return _unavailable(sentence, is_missing or error, for_staff)
    if isinstance(error, SearchUnavailable | BackendUnavailable | SetupError):
        logger.warning("Cannot answer error=%s", in_one_line(error))
        return _unavailable("The service is unavailable now. Try again later.", error, for_staff)
    if isinstance(error, BadImage):  # only decoding finds damage after the header
        return ValidationError({"image_file": [str(error)[:MAX_MESSAGE]]})
    return error


def _unavailable(sentence: str, reason: object, for_staff: bool) -> Unavailable:
    return Unavailable(f"{sentence} {in_one_line(reason)[:MAX_REASON]}".strip() if for_staff else sentence)
