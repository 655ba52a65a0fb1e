"""The store that uses a Qdrant server or cluster, with qdrant-client."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..conf import is_port
from ..exceptions import CollectionMissing, SetupError, StoreUnavailable
from ..types import IMAGE, TEXT, Point
from .base import RRF_K, Query, Retriever, Schema
from .filters import Dialect
from .qdrant import QdrantStore, payload_indexes
from .server_errors import client_errors, explained, without_frames

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

logger = logging.getLogger("clip_search")

TIMEOUT = 10
"""The most seconds for one request, unless CLIP_SEARCH["QDRANT"] sets `timeout`."""

POINTS_A_REQUEST = 100
NUMBERS_A_REQUEST = 500_000
"""The most numbers in all vectors of one request: 10 MB of JSON. A server accepts 32 MiB."""
MARK = "clip_search"
"""The key in a collection's metadata under which its mark is stored."""
NEEDED_VERSION = (1, 17)
"""The oldest version that works: older servers ignore the condition of a conditional write."""


class ServerStore(QdrantStore):
    """Keeps collections on a Qdrant server. `options` are those of `QdrantClient`: url, api_key…

    COLLECTION_OPTIONS are passed to `create_collection()`: shard_number, replication_factor, on_disk_payload,
    hnsw_config, quantization_config… The exception is `on_disk`, which is an option of each vector.
    """

    def __init__(self, **options: Any) -> None:
        self._options = {"timeout": TIMEOUT, "check_compatibility": False} | options
        if _is_https_without_port(str(options.get("url"))):
            self._options.setdefault("port", 443)  # the default of qdrant-client is 6333
        self._client: QdrantClient | None = None
        self._connecting = threading.Lock()
        self._version_is_fine = False
        self._many_images: dict[str, bool] = {}

    @cached_property
    def dialect(self) -> Dialect:
        from qdrant_client import models

        return Dialect(
            models=models,
            point=models.PointStruct,
            upsert=lambda points, where: models.UpsertOperation(
                upsert=models.PointsList(points=points, update_filter=where)
            ),
            delete=lambda where: models.DeleteOperation(delete=models.FilterSelector(filter=where)),
            match=lambda value: models.MatchValue(value=value),
            numbers=models.Range,
            dates=models.DatetimeRange,
            has_id=lambda ids: models.HasIdCondition(has_id=list(ids)),
            has_vector=lambda name: models.HasVectorCondition(has_vector=name),
        )

    def _connected(self) -> QdrantClient:
        from qdrant_client import QdrantClient

        with self._connecting:
            if self._client is None:
                self._check_options()
                try:
                    self._client = QdrantClient(**self._options)
                except (TypeError, AttributeError, OSError) as error:
                    raise SetupError(
                        f'CLIP_SEARCH["QDRANT"] has an option that qdrant-client cannot use: {error}.'
                    ) from without_frames(error)
            return self._client

    def _check_options(self) -> None:
        """Raise SetupError for options that would make the HTTP client fail at the first request."""
        for name in ("port", "grpc_port"):
            port = self._options.get(name)
            if not (port is None or is_port(port)):
                raise SetupError(
                    f'CLIP_SEARCH["QDRANT"]["{name}"] is not a port number. Write a number from 1 to 65535.'
                )
        if "@" in str(self._options.get("host")):  # the HTTP client's errors would show a password
            raise SetupError('CLIP_SEARCH["QDRANT"]["host"] is not a host name. Run `manage.py check`.')
        # no variable holds the key, because error pages show variables
        if re.search(r"[^ -~]", str(self._options.get("api_key") or "")):
            raise SetupError(
                'CLIP_SEARCH["QDRANT"]["api_key"] has a line break or another character that is not allowed.'
            )

    @contextmanager
    def _client_for(self, collection: str = "") -> Iterator[QdrantClient]:
        try:
            yield self._connected()
        except client_errors() as error:
            raise explained(error, collection) from without_frames(error)

    def close(self) -> None:
        with self._connecting:
            if self._client is not None:
                self._client.close()
            self._client = None

    def create(self, collection: str, schema: Schema) -> None:
        self._check_version()
        if not self.exists(collection):
            self._create(collection, schema)
        self._create_indexes(collection, schema)

    def _create(self, collection: str, schema: Schema) -> None:
        options = dict(schema.options)
        on_disk = options.pop("on_disk", None)
        if schema.mark:
            options["metadata"] = {**options.get("metadata", {}), MARK: dict(schema.mark)}
        try:
            with self._client_for(collection) as client:
                client.create_collection(collection, vectors_config=_vectors(schema, on_disk), **options)
        except (TypeError, SetupError) as error:
            if self.exists(collection):  # another process has created it meanwhile
                return
            raise SetupError(
                f'Qdrant cannot create the collection. Check CLIP_SEARCH["COLLECTION_OPTIONS"]. {error}'
            ) from error
        logger.info("Created collection=%s dimension=%d", collection, schema.dimension)

    def _create_indexes(self, collection: str, schema: Schema) -> None:
        # Also for an existing collection: the process that created it may have died before the last index.
        from qdrant_client import models

        with self._client_for(collection) as client:
            there = client.get_collection(collection).payload_schema
            for key, name in payload_indexes(schema).items():
                if key not in there:
                    client.create_payload_index(collection, key, models.PayloadSchemaType(name), wait=True)

    def _check_version(self) -> None:
        if self._version_is_fine:
            return
        with self._client_for() as client:
            version = client.info().version
        match = re.match(r"(\d+)\.(\d+)", version)
        if not match:
            raise StoreUnavailable('The server at CLIP_SEARCH["QDRANT"] is not a Qdrant server.')
        if tuple(map(int, match.groups())) < NEEDED_VERSION:
            raise SetupError(
                f"The Qdrant server is version {version} and ignores conditional writes. "
                "Upgrade it to 1.17 or later."
            )
        self._version_is_fine = True

    def exists(self, collection: str) -> bool:
        with self._client_for(collection) as client:
            return client.collection_exists(collection)

    def names(self) -> list[str]:
        with self._client_for() as client:
            return [collection.name for collection in client.get_collections().collections]

    def mark(self, collection: str) -> dict[str, str]:
        with self._client_for(collection) as client:
            metadata = client.get_collection(collection).config.metadata or {}
        mark = metadata.get(MARK)
        return {str(key): str(value) for key, value in mark.items()} if isinstance(mark, dict) else {}

    def destroy(self, collection: str) -> None:
        self._many_images.pop(collection, None)
        try:
            with self._client_for(collection) as client:
                client.delete_collection(collection)
        except CollectionMissing:
            return

    def _retrieve(self, collection: str, ids: list[uuid.UUID], vectors: bool) -> Iterable[Any]:
        step = POINTS_A_REQUEST if vectors else len(ids) or 1
        with self._client_for(collection) as client:
            for start in range(0, len(ids), step):
                some = ids[start : start + step]
                yield from client.retrieve(collection, some, with_payload=True, with_vectors=vectors)

    def _page(self, collection: str, start: uuid.UUID | None, limit: int) -> Iterable[Any]:
        with self._client_for(collection) as client:
            return client.scroll(collection, offset=start, limit=limit, with_payload=True)[0]

    def _write(self, collection: str, points: Sequence[Point], *, or_equal: bool) -> None:
        largest = max((sum(v.size for v in point.vectors.values()) for point in points), default=0)
        step = max(1, min(POINTS_A_REQUEST, NUMBERS_A_REQUEST // max(1, largest)))
        for start in range(0, len(points), step):
            super()._write(collection, points[start : start + step], or_equal=or_equal)

    def _update(self, collection: str, operations: list[Any]) -> None:
        self._check_version()
        with self._client_for(collection) as client:
            client.batch_update_points(collection, operations, wait=True)

    def _find(self, collection: str, query: Query, where: Any, offset: int, limit: int) -> Iterable[Any]:
        with self._client_for(collection) as client:
            retrievers = [self._nearest(client, collection, retriever) for retriever in query.retrievers]
            return client.query_points(
                collection,
                query_filter=where,
                offset=offset,
                limit=limit,
                with_payload=True,
                **_search(query, retrievers, where),
            ).points

    def _nearest(self, client: QdrantClient, collection: str, retriever: Retriever) -> dict[str, Any]:
        vector = retriever.vector.tolist()
        many = retriever.using == IMAGE and self._has_many_images(client, collection)
        return {"query": [vector] if many else vector, "using": retriever.using}

    def _has_many_images(self, client: QdrantClient, collection: str) -> bool:
        """Return whether the collection has several image vectors for each point (a multivector).

        This never changes, so a process asks only once.
        """
        if collection not in self._many_images:
            vectors = client.get_collection(collection).config.params.vectors
            image = vectors.get(IMAGE) if isinstance(vectors, dict) else None
            self._many_images[collection] = bool(image and image.multivector_config)
        return self._many_images[collection]

    def _facet(self, collection: str, key: str, where: Any, limit: int) -> Iterable[Any]:
        with self._client_for(collection) as client:
            return client.facet(collection, key, facet_filter=where, limit=limit, exact=True).hits

    def _count(self, collection: str, where: Any) -> int:
        with self._client_for(collection) as client:
            return client.count(collection, count_filter=where, exact=True).count


def _is_https_without_port(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and parts.port is None
    except ValueError:  # not a valid URL: QdrantClient raises an error for it
        return False


def _vectors(schema: Schema, on_disk: bool | None) -> dict[str, Any]:
    from qdrant_client import models

    best_match = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    size, cosine = schema.dimension, models.Distance.COSINE
    return {
        TEXT: models.VectorParams(size=size, distance=cosine, on_disk=on_disk),
        IMAGE: models.VectorParams(
            size=size,
            distance=cosine,
            on_disk=on_disk,
            multivector_config=best_match if schema.multiple_images else None,
        ),
    }


def _search(query: Query, retrievers: list[dict[str, Any]], where: Any) -> Mapping[str, Any]:
    from qdrant_client import models

    if not retrievers:
        return {}
    if len(retrievers) == 1:
        return {"score_threshold": query.min_score, **retrievers[0]}
    prefetch = [
        models.Prefetch(limit=query.depth, filter=where, score_threshold=query.min_score, **retriever)
        for retriever in retrievers
    ]
    fusion = models.Rrf(k=RRF_K, weights=[float(retriever.weight) for retriever in query.retrievers])
    return {"query": models.RrfQuery(rrf=fusion), "prefetch": prefetch}
