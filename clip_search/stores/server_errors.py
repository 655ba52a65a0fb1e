"""Turns errors of qdrant-client and of the Qdrant server into this package's exceptions."""

from __future__ import annotations

import json
from typing import Any

from ..exceptions import (
    ClipSearchError,
    CollectionMissing,
    SetupError,
    StoreRefused,
    StoreUnavailable,
    without_password,
)
from .qdrant import refused

GRPC_STATUS = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404}


def client_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of qdrant-client: its own, gRPC's, and those of parsing a wrong response."""
    import grpc
    from httpx import InvalidURL
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    ours = ApiException, QdrantException
    return *ours, grpc.RpcError, InvalidURL, ValueError, AssertionError, RecursionError


def without_frames(error: BaseException) -> BaseException:
    """Remove tracebacks and the passwords in URLs from an error and its causes. Return the error.

    Django's error pages show the variables of every frame in a traceback, and the client's frames contain the
    API key.
    """
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found.args = tuple(without_password(arg) if isinstance(arg, str) else arg for arg in found.args)
        found = found.__cause__ or found.__context__
    return error


def explained(error: Exception, collection: str) -> ClipSearchError:
    """Return this package's exception for an error of the client. Its message contains no sent data."""
    status, message = _status(error)
    if status in (401, 403):
        return SetupError(f'Qdrant refused access ({status}). Check CLIP_SEARCH["QDRANT"]["api_key"].')
    # only if the message names the collection: a proxy may answer 404 too
    if status == 404 and collection and collection in message:
        return CollectionMissing()
    if status in (400, 409, 422) and message:  # without a message, it was a proxy that answered
        return refused(message)
    if message and status and status >= 500:
        return StoreRefused(f'The server of CLIP_SEARCH["QDRANT"] refused ({status}): {message.strip()}')
    reason = f"status {status}" if status else type(getattr(error, "source", error)).__name__
    return StoreUnavailable(
        f'Qdrant did not answer correctly ({reason}). Check that it runs where CLIP_SEARCH["QDRANT"] says.'
    )


def _status(error: Exception) -> tuple[int | None, str]:
    """Return (HTTP status, message of the server) of an error. The status is None if the error has none."""
    import grpc
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        return error.status_code, _message(error)
    if isinstance(error, ResourceExhaustedResponse):
        return 429, ""
    if isinstance(error, grpc.Call):
        return GRPC_STATUS.get(error.code().name), error.details() or ""
    if _is_refusal(error):
        return (404 if str(error).endswith("not found") else 400), str(error)
    return None, ""


def _is_refusal(error: Exception) -> bool:
    """Return whether the client refused to send the request. Otherwise it could not parse the response."""
    if isinstance(error, AssertionError):
        return "Unknown arguments" in str(error)
    return isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError | UnicodeDecodeError)


def _message(error: Any) -> str:
    try:
        return str(error.structured()["status"]["error"])
    except (ValueError, LookupError, TypeError):
        return ""
