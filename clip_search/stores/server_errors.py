"""Errors of qdrant-client and of the server as this package's errors."""

from __future__ import annotations

import json
from typing import Any

from ..exceptions import ClipSearchError, CollectionMissing, SetupError, StoreUnavailable
from .qdrant import refused

GRPC_STATUS = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404}


def client_errors() -> tuple[type[Exception], ...]:
    """Return what qdrant-client raises: its own errors, gRPC's, and those of parsing an unexpected answer."""
    import grpc
    from httpx import InvalidURL
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    ours = ApiException, QdrantException
    return *ours, grpc.RpcError, InvalidURL, ValueError, AssertionError, RecursionError


def without_frames(error: BaseException) -> BaseException:
    """Return an error and its causes without their tracebacks.

    Error pages show the variables of every frame, and the frames of the client hold the API key.
    """
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__
    return error


def explained(error: Exception, collection: str) -> ClipSearchError:
    """Return this package's error for one of `client_errors()`. Its message holds nothing that was sent."""
    status, message = _status(error)
    if status in (401, 403):
        return SetupError(f'Qdrant refused access ({status}). Check CLIP_SEARCH["QDRANT"]["api_key"].')
    # only if it names the collection: a proxy without a route answers 404 too
    if status == 404 and collection and collection in message:
        return CollectionMissing()
    if status in (400, 409, 422) and message:  # without Qdrant's own message, something in between answered
        return refused(message)
    reason = f"status {status}" if status else type(getattr(error, "source", error)).__name__
    return StoreUnavailable(
        f'Qdrant did not answer as it should ({reason}). Check that it runs where CLIP_SEARCH["QDRANT"] says.'
    )


def _status(error: Exception) -> tuple[int | None, str]:
    """Return the HTTP status that an error stands for, and the server's message."""
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
    """Return whether the client refused the request, rather than failed to parse the answer."""
    if isinstance(error, AssertionError):
        return "Unknown arguments" in str(error)
    return isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError | UnicodeDecodeError)


def _message(error: Any) -> str:
    try:
        return str(error.structured()["status"]["error"])
    except (ValueError, LookupError, TypeError):
        return ""
