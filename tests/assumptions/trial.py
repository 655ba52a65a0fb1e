"""A server under trial: its clients, the collections that the trial makes there, and what it refuses."""

from __future__ import annotations

import json
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import grpc
from qdrant_client import QdrantClient, models

from clip_search.exceptions import ClipSearchError
from clip_search.stores.server_errors import Failure, client_errors

DIMENSION = 4
REVISION = "_clip.revision"
NAMES = "clip-search-assumptions-"
TIMEOUT = 60
POINTS = range(1, 31)
"""The numbers of the points that `stored()` reads, unless it is given others."""

ASSUMPTIONS: list[Assumption] = []
"""All assumptions, in the order in which they are tried."""


class DoesNotHold(Exception):
    """The server does something else."""


class NotTried(Exception):
    """The assumption cannot be tried with what was given on the command line."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """What is assumed of a server. `check` raises DoesNotHold or NotTried, and may return a note."""

    check: Callable[[Trial], str | None]

    @property
    def name(self) -> str:
        return self.check.__name__.replace("_", " ")

    @property
    def relying(self) -> list[str]:
        """The modules that rely on it, as the docstring names them."""
        relied_on_by = (self.check.__doc__ or "").split("Relied on by")[1]
        return re.findall(r"(?:clip_search|tests)(?:\.\w+)+", relied_on_by)

    def outcome(self, trial: Trial) -> str:
        """Try it, and return "holds", "DOES NOT HOLD: got …" or "not tried: why"."""
        try:
            note = self.check(trial)
        except DoesNotHold as error:
            return f"DOES NOT HOLD: got {error}"
        except NotTried as error:
            return f"not tried: {error}"
        except client_errors() as error:
            return f"DOES NOT HOLD: got {Refusal.of(error)}"
        return f"holds ({note})" if note else "holds"


def assumption(check: Callable[[Trial], str | None]) -> Callable[[Trial], str | None]:
    """Register a function as an assumption. Its docstring says what is assumed and who relies on it."""
    ASSUMPTIONS.append(Assumption(check))
    return check


def expect(holds: object, got: object) -> None:
    """Raise DoesNotHold unless the first argument is true."""
    if not holds:
        raise DoesNotHold(got)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the server refused: status, message, and the exception that the package makes of it."""

    status: str
    message: str
    kind: type[ClipSearchError]

    @classmethod
    def of(cls, error: Exception, collection: str = "") -> Refusal:
        status, body = str(getattr(error, "status_code", None)), getattr(error, "content", b"").decode()
        if isinstance(error, grpc.Call):
            status, body = error.code().name, error.details() or ""
        try:
            message = str(json.loads(body)["status"]["error"])
        except (ValueError, LookupError, TypeError):
            message = body or repr(error)
        return cls(status, message, type(Failure.of(error).explained(collection)))

    def __str__(self) -> str:
        return f"{self.status}, {' '.join(self.message.split())[:300]!r}, read as {self.kind.__name__}"


@dataclass
class Trial:
    """The server or cluster under trial, by the addresses of its nodes. Collections are made at the first."""

    urls: Sequence[str]
    grpc_ports: Sequence[int] = ()
    """The ports for gRPC, one for each address. If empty, HTTP is used."""
    api_key: str | None = None
    read_only_key: str | None = None
    stop: Callable[[], None] | None = None
    """Stops the node of the last address; None if it cannot be stopped."""
    start: Callable[[], None] | None = None
    made: list[str] = field(default_factory=list)
    """The names of the collections to remove."""
    outage: Any = None
    """What was seen while a node was stopped, or NotTried if that failed. See `cluster.outage()`."""

    @cached_property
    def clients(self) -> list[QdrantClient]:
        return [self.client(number, self.api_key) for number in range(len(self.urls))]

    @property
    def first(self) -> QdrantClient:
        return self.clients[0]

    def client(self, number: int, key: str | None) -> QdrantClient:
        options: dict[str, Any] = {"url": self.urls[number], "api_key": key, "timeout": TIMEOUT}
        if self.grpc_ports:
            options |= {"prefer_grpc": True, "grpc_port": self.grpc_ports[number]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a key is sent without TLS
            return QdrantClient(**options, check_compatibility=False)

    def refusal(self, call: Callable[[], object], collection: str = "") -> Refusal:
        """Return how the server refused a call. Raise DoesNotHold if it did not."""
        try:
            answer = call()
        except client_errors() as error:
            return Refusal.of(error, collection)
        raise DoesNotHold(f"no refusal but {str(answer)[:200]}")

    def collection(
        self, *, vectors: Any = None, indexes: dict[str, str] | None = None, **options: Any
    ) -> str:
        """Make a collection with the vectors `text` and `image`, and return its name."""
        name = f"{NAMES}{uuid.uuid4().hex[:8]}"
        self.made.append(name)
        if vectors is None:
            vectors = {vector: size() for vector in ("text", "image")}
        self.first.create_collection(name, vectors_config=vectors, **options)
        for key, kind in {REVISION: "integer", "_clip.removed": "bool", **(indexes or {})}.items():
            self.first.create_payload_index(name, key, models.PayloadSchemaType(kind), wait=True)
        return name

    @contextmanager
    def removing(self) -> Iterator[list[str]]:
        """Remove all collections after the block. The list gets the names of those that stay."""
        left: list[str] = []
        try:
            yield left
        finally:
            for name in self.made:
                try:
                    self.first.delete_collection(name)
                except client_errors():
                    left.append(name)
            for client in self.clients:
                client.close()


def size(dimension: int = DIMENSION) -> models.VectorParams:
    return models.VectorParams(size=dimension, distance=models.Distance.COSINE)


def point(number: int, revision: int = 1, *, removed: bool = False, **payload: Any) -> models.PointStruct:
    """Return a point as the package writes it, with both vectors; a tombstone has none."""
    vector = [1.0, float(number % 7), float(number % 3), 0.5]
    return models.PointStruct(
        id=str(uuid.UUID(int=number)),
        vector={} if removed else {"text": vector, "image": vector[::-1]},
        payload={"_clip": {"product_id": str(number), "revision": revision, "removed": removed}, **payload},
    )


def write(
    client: QdrantClient, collection: str, points: Sequence[models.PointStruct], *, or_equal: bool = False
) -> None:
    """Write points as the package does: only where the stored revision is lower than that of the first."""
    assert points[0].payload
    revision = points[0].payload["_clip"]["revision"]
    bound = models.Range(**{"lte" if or_equal else "lt": revision})
    where = models.Filter(must=[models.FieldCondition(key=REVISION, range=bound)])
    upsert = models.PointsList(points=list(points), update_filter=where)
    client.batch_update_points(collection, [models.UpsertOperation(upsert=upsert)], wait=True)


def nearest(client: QdrantClient, collection: str, vector: Sequence[float]) -> list[models.ScoredPoint]:
    """Return the points nearest to a vector, asked for as the package does."""
    request = models.QueryRequest(query=list(vector), using="text", limit=100)
    (found,) = client.query_batch_points(collection, [request])
    return found.points


def stored(
    client: QdrantClient, collection: str, numbers: Iterable[int] = POINTS, **options: Any
) -> dict[int, models.Record]:
    """Return {number: point} for those of the numbers that are stored, with vectors."""
    ids = [point(number).id for number in numbers]
    records = client.retrieve(collection, ids, with_payload=True, with_vectors=True, **options)
    return {uuid.UUID(str(record.id)).int: record for record in records}


def revisions(client: QdrantClient, collection: str, **options: Any) -> dict[int, int]:
    """Return {number: revision} for the same points."""
    points = stored(client, collection, **options)
    return {
        number: record.payload["_clip"]["revision"] for number, record in points.items() if record.payload
    }
