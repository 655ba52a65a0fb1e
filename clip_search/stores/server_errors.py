"""Turns errors of qdrant-client and of the Qdrant server into this package's exceptions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..exceptions import (
    AccessDenied,
    ClipSearchError,
    CollectionMissing,
    NoAnswer,
    RequestRefused,
    StoreRefused,
    StoreUnavailable,
    in_one_line,
    without_password,
)
from .qdrant import refused

GRPC_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "DEADLINE_EXCEEDED": 408,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 500,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
"""The status with which a server answers over HTTP what it answers over gRPC with this code."""
MAX_REASON = 500
"""The most characters of a server's reason that a message contains."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What an error of the client says, in the terms of HTTP, even if it came over gRPC."""

    status: int | None
    """The status, also if there is no answer: 408 after a timeout, 503 without a connection."""
    reason: str
    """The reason that the server gave, in one line. A proxy in front of it gives none."""
    kind: str
    """What failed, such as "status 500" or "ReadTimeout"."""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return what an error of the client says. It contains nothing that was sent."""
        import grpc
        from httpx import LocalProtocolError, TimeoutException, TransportError
        from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
        from qdrant_client.http.exceptions import UnexpectedResponse

        source = getattr(error, "source", error)
        status, reason, kind = None, "", type(source).__name__
        if isinstance(error, UnexpectedResponse):
            status, reason, kind = error.status_code, _reason(error), f"status {error.status_code}"
        elif isinstance(error, ResourceExhaustedResponse):
            status, reason, kind = 429, str(error), "status 429"
        elif isinstance(error, grpc.Call):
            kind, said = error.code().name, error.details() or ""
            status = GRPC_STATUS.get(kind)
            if status in (408, 503):  # what is said then comes from gRPC itself, which got no answer
                kind = in_one_line(f"{kind}: {said}")[:MAX_REASON]
            else:
                reason, kind = said, f"status {status or kind}"
        elif isinstance(source, TimeoutException):
            status = 408
        elif isinstance(source, TransportError) and not isinstance(source, LocalProtocolError):
            status = 503
        elif _is_refusal(error):
            status, reason = (404 if str(error).endswith("not found") else 400), str(error)
        return cls(status=status, reason=in_one_line(reason)[:MAX_REASON], kind=kind)

    @property
    def timed_out(self) -> bool:
        return self.status in (408, 504)

    @property
    def is_unanswered(self) -> bool:
        """Return whether no Qdrant has answered: there was no answer, or only that of a proxy."""
        return self.timed_out or (self.status in (502, 503) and not self.reason)

    def explained(self, collection: str) -> ClipSearchError:
        """Return this package's exception, whose message has the cause and the remedy."""
        if self.status in (401, 403):
            reason = f": {self.reason}" if self.reason else ""
            return AccessDenied(
                f"Qdrant refused access ({self.status}){reason}. "
                'Check that CLIP_SEARCH["QDRANT"]["api_key"] is right and may write.'
            )
        # only if the reason names the collection: a proxy may answer 404 too
        if self.status == 404 and collection and collection in self.reason:
            return CollectionMissing()
        if self.status in (400, 409, 422) and self.reason:  # without a reason, it was a proxy that answered
            return refused(self.reason)
        if self.status == 413:  # of a proxy: a smaller request may be accepted
            return RequestRefused(
                "A request to Qdrant is too large for a proxy in front of it (status 413). "
                "Let the proxy accept 32 MiB, as Qdrant does."
            )
        said = f"{self.kind}: {self.reason}" if self.reason else self.kind
        where = 'Check that it runs where CLIP_SEARCH["QDRANT"] says.'
        if self.is_unanswered:
            return NoAnswer(f"Qdrant did not answer{' in time' if self.timed_out else ''} ({said}). {where}")
        if self.reason and self.status and self.status >= 500:
            return StoreRefused(
                f'The server in CLIP_SEARCH["QDRANT"] refused the request ({said}). '
                "Mend this on the server; what waits then goes on by itself."
            )
        return StoreUnavailable(f"Qdrant did not answer correctly ({said}). {where}")


def _is_refusal(error: Exception) -> bool:
    """Return whether the client refused to send the request. Otherwise it could not parse the response."""
    if isinstance(error, AssertionError):
        return "Unknown arguments" in str(error)
    return isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError | UnicodeDecodeError)


def _reason(error: Any) -> str:
    try:
        return str(error.structured()["status"]["error"])
    except (ValueError, LookupError, TypeError):
        return ""
