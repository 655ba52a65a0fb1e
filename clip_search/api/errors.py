"""Errors as HTTP answers: a 400 for bad input, a 409 or 503 for what is out of order, without secrets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import UnreadablePostError
from rest_framework.exceptions import APIException, ParseError, ValidationError

from .. import posting
from ..exceptions import BackendUnavailable, BadImage, Postponed, SearchUnavailable, SetupError, in_one_line
from .serializers import MAX_MESSAGE

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

logger = logging.getLogger(__name__)

RETRY_AFTER: Final = 10


class Unavailable(APIException):
    """A 503 with `Retry-After`."""

    status_code = 503
    default_code = "unavailable"

    def __init__(self, detail: str | _StrPromise, wait: int = RETRY_AFTER) -> None:
        super().__init__(detail)
        self.wait = wait


class LengthRequired(APIException):
    """A 411: under WSGI, and to DRF, a body without Content-Length is empty."""

    status_code = 411
    default_code = "length_required"
    default_detail = "The body has no Content-Length. Send that header, and not Transfer-Encoding: chunked."


class Conflict(APIException):
    """A 409: another request was the last to change the product."""

    status_code = 409
    default_code = "conflict"


def as_http(error: Exception) -> Exception:
    """Return an error as DRF answers it. An error that is the server's own fault is returned as it is."""
    if isinstance(error, SuspiciousOperation | BadRequest):
        return ParseError(str(error) or "The request is malformed.")
    if isinstance(error, UnreadablePostError):
        return ParseError("The request ended early. Send it again.")
    if isinstance(error, posting.NoDocument | Postponed):
        return Unavailable(str(error))
    if isinstance(error, OperationalError | InterfaceError | OSError):
        # a database that is down, locked for too long or full; a disk or storage that takes no file
        logger.error("Cannot answer error=%s", in_one_line(error))
        return Unavailable("This cannot be done now. Send it again later: twice does no harm.")
    if isinstance(error, SearchUnavailable | BackendUnavailable | SetupError):
        logger.warning("Cannot answer error=%s", in_one_line(error))
        return Unavailable("This is unavailable now. Try again later.")
    if isinstance(error, BadImage):  # a damaged body shows only when it is decoded
        return ValidationError({"image_file": [str(error)[:MAX_MESSAGE]]})
    return error
