"""The store that uses a Qdrant server or cluster, with qdrant-client."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..conf import Options
from ..exceptions import AccessDenied, CollectionMissing, SetupError, StoreUnavailable
from ..types import IMAGE, TEXT, WORDS, Point
from .base import TERMS, Query, Retriever, Schema
from .filters import Dialect, without_stamp
from .nodes import Answer, Nodes
from .qdrant import VECTORS_READ, QdrantStore, by_id, payload_indexes

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import CollectionConfig

logger = logging.getLogger("clip_search")

POINTS_A_REQUEST = 100
NUMBERS_A_REQUEST = 500_000
"""The most numbers in all vectors of one request: 10 MB of JSON. A server accepts 32 MiB."""
EXACT_REFUSED = "Exact search disabled"
"""What a server says if a collection's strict mode has `search_allow_exact: false`."""
MARK = "clip_search"
"""The key in a collection's metadata under which its mark is stored."""
NEEDED_VERSION = (1, 18)
"""The oldest version that works: older servers cannot add the vector of words to a collection that exists."""


class ServerStore(QdrantStore):
    """Keeps collections on a Qdrant server. `options` are those of `QdrantClient`: url, api_key…

    `url` may be a list of the nodes of a cluster. `timeout` and `search_timeout` are the most seconds for one
    request; the second is for the searches, facets and counts of shoppers.

    COLLECTION_OPTIONS are passed to `create_collection()`: shard_number, replication_factor, on_disk_payload,
    hnsw_config, quantization_config… The exception is `on_disk`, which is an option of each vector.
    """

    def __init__(self, **options: Any) -> None:
        self._nodes = Nodes(Options(options))
        self._version_is_fine = False
        self._many_images: dict[str, bool] = {}
        self._approximate: set[str] = set()
        """The collections whose strict mode refuses exact counts."""

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
            only=lambda keys: models.PayloadSelectorInclude(include=keys),
            without=lambda keys: models.PayloadSelectorExclude(exclude=keys),
        )

    def _ask(
        self, request: Callable[[QdrantClient], Answer], collection: str = "", *, search: bool = False
    ) -> Answer:
        """Send a request and return its answer. If a node does not answer, the next one carries it out too.

        If `search`, a shopper waits for it, and it gets less time. Raises StoreUnavailable, SetupError.
        """
        return self._nodes.ask(request, collection, search=search)

    def close(self) -> None:
        self._nodes.close()

    def create(self, collection: str, schema: Schema) -> None:
        self._check_version()
        if not self.exists(collection):
            self._create(collection, schema)
        self._add_words(collection)
        self._create_indexes(collection, schema)

    def _create(self, collection: str, schema: Schema) -> None:
        options = dict(schema.options)
        on_disk = options.pop("on_disk", None)
        if schema.mark:
            options["metadata"] = {**options.get("metadata", {}), MARK: dict(schema.mark)}
        vectors, words = _vectors(schema, on_disk)
        try:
            self._ask(
                lambda client: client.create_collection(
                    collection, vectors, sparse_vectors_config=words, **options
                ),
                collection,
            )
        except AccessDenied:
            raise
        except (TypeError, SetupError) as error:
            if self.exists(collection):  # another process has just created it
                return
            raise SetupError(
                f'Qdrant cannot create the collection. Check CLIP_SEARCH["COLLECTION_OPTIONS"]. {error}'
            ) from error
        logger.info("Created collection=%s dimension=%d", collection, schema.dimension)

    def _add_words(self, collection: str) -> None:
        """Add the vector "words" to a collection that an earlier version has created."""
        from qdrant_client import models

        if self._has_words(collection):
            return
        config = models.SparseVectorConfig(modifier=models.Modifier.IDF)
        words = models.SparseVectorNameConfig(sparse=config)
        try:
            self._ask(lambda client: client.create_vector_name(collection, WORDS, words), collection)
        except SetupError:
            if not self._has_words(collection):  # otherwise another process has just added it
                raise
        logger.info("Added the vector of words collection=%s", collection)

    def _has_words(self, collection: str) -> bool:
        return WORDS in (self._config(collection).params.sparse_vectors or {})

    def _create_indexes(self, collection: str, schema: Schema) -> None:
        # Also for an existing collection: the process that created it may have died before the last index.
        def create(client: QdrantClient) -> None:
            from qdrant_client import models

            there = client.get_collection(collection).payload_schema
            for key, name in payload_indexes(schema).items():
                if key not in there:
                    client.create_payload_index(collection, key, models.PayloadSchemaType(name), wait=True)

        self._ask(create, collection)

    def _check_version(self) -> None:
        if self._version_is_fine:
            return
        version = self._ask(lambda client: client.info().version)
        match = re.match(r"(\d+)\.(\d+)", version)
        if not match:
            raise StoreUnavailable('The server at CLIP_SEARCH["QDRANT"] is not a Qdrant server.')
        if tuple(map(int, match.groups())) < NEEDED_VERSION:
            raise SetupError(
                f"The Qdrant server is version {version}, which cannot add words to a collection. "
                "Upgrade it to 1.18 or later."
            )
        self._version_is_fine = True

    def exists(self, collection: str) -> bool:
        def ask(client: QdrantClient) -> bool:
            return client.collection_exists(collection)

        # a load balancer waits for this
        if self._ask(ask, collection, search=True):
            return True
        # A node that was just started may not know yet what was created while it was down.
        return self._nodes.another_says(ask, collection)

    def names(self) -> list[str]:
        answer = self._ask(lambda client: client.get_collections())
        return [collection.name for collection in answer.collections]

    def mark(self, collection: str) -> dict[str, str]:
        mark = (self._config(collection).metadata or {}).get(MARK)
        return {str(key): str(value) for key, value in mark.items()} if isinstance(mark, dict) else {}

    def vectors(self, collection: str) -> dict[str, int] | None:
        found = self._config(collection).params.vectors
        named = found if isinstance(found, dict) else {"": found}
        return {name: vector.size for name, vector in named.items() if vector}

    def _config(self, collection: str) -> CollectionConfig:
        return self._ask(lambda client: client.get_collection(collection), collection).config

    def has_foreign_points(self, collection: str) -> bool:
        where = without_stamp(self.dialect)
        if not self._page(collection, None, 1):  # it may not have the index yet that strict mode demands
            return False
        return bool(
            self._ask(lambda client: client.scroll(collection, scroll_filter=where, limit=1)[0], collection)
        )

    def destroy(self, collection: str) -> None:
        self._many_images.pop(collection, None)
        with suppress(CollectionMissing):
            self._ask(lambda client: client.delete_collection(collection), collection)

    def get_consistent(self, collection: str, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Point]:
        from qdrant_client import models

        every_replica = models.ReadConsistencyType.ALL
        return by_id(
            self._ask(
                lambda client: client.retrieve(
                    collection, list(ids), self._without_terms, consistency=every_replica
                ),
                collection,
            )
        )

    def get_for_search(self, collection: str, point_id: uuid.UUID) -> Point | None:
        def retrieve(client: QdrantClient) -> list[Any]:
            return client.retrieve(collection, [point_id], self._without_terms, with_vectors=VECTORS_READ)

        return by_id(self._ask(retrieve, collection, search=True)).get(point_id)

    def counts_exactly(self, collection: str) -> bool:
        return collection not in self._approximate

    def _retrieve(self, collection: str, ids: list[uuid.UUID], vectors: bool) -> Iterable[Any]:
        step = POINTS_A_REQUEST if vectors else len(ids) or 1
        batches = [ids[start : start + step] for start in range(0, len(ids), step)]
        return self._ask(
            lambda client: [
                record
                for batch in batches
                for record in client.retrieve(
                    collection, batch, self._without_terms, with_vectors=VECTORS_READ if vectors else False
                )
            ],
            collection,
        )

    def _page(self, collection: str, start: uuid.UUID | None, limit: int) -> Iterable[Any]:
        return self._ask(
            lambda client: client.scroll(
                collection, offset=start, limit=limit, with_payload=self._without_terms
            )[0],
            collection,
        )

    def _values(
        self, collection: str, keys: list[str], where: Any, start: uuid.UUID | None, limit: int
    ) -> Iterable[Any]:
        only = self.dialect.only(keys)
        return self._ask(
            lambda client: client.scroll(
                collection, scroll_filter=where, offset=start, limit=limit, with_payload=only
            )[0],
            collection,
            search=True,
        )

    @cached_property
    def _without_terms(self) -> Any:
        return self.dialect.without([TERMS])

    def _write(self, collection: str, points: Sequence[Point], *, or_equal: bool) -> None:
        largest = max((_numbers(point) for point in points), default=0)
        step = max(1, min(POINTS_A_REQUEST, NUMBERS_A_REQUEST // max(1, largest)))
        for start in range(0, len(points), step):
            super()._write(collection, points[start : start + step], or_equal=or_equal)

    def _update(self, collection: str, operations: list[Any]) -> None:
        self._check_version()
        self._ask(lambda client: client.batch_update_points(collection, operations, wait=True), collection)

    def _rank(
        self, collection: str, queries: Sequence[tuple[Query, Any]], payload: bool
    ) -> list[Iterable[Any]]:
        def rank(client: QdrantClient) -> list[Iterable[Any]]:
            from qdrant_client import models

            requests = [
                models.QueryRequest(
                    filter=where,
                    score_threshold=query.min_score if query.retriever else None,
                    offset=query.offset,
                    limit=query.limit,
                    with_payload=self._without_terms if payload else False,
                    **self._nearest(client, collection, query.retriever),
                )
                for query, where in queries
            ]
            return [answer.points for answer in client.query_batch_points(collection, requests)]

        return self._ask(rank, collection, search=True)

    def _nearest(self, client: QdrantClient, collection: str, retriever: Retriever | None) -> dict[str, Any]:
        if retriever is None:
            return {}
        if isinstance(retriever.vector, Mapping):
            return {"query": self._sparse(retriever.vector), "using": retriever.using}
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
        def facet(client: QdrantClient, exact: bool) -> Iterable[Any]:
            return client.facet(collection, key, facet_filter=where, limit=limit, exact=exact).hits

        return self._counted(facet, collection)

    def _count(self, collection: str, where: Any) -> int:
        def count(client: QdrantClient, exact: bool) -> int:
            return client.count(collection, count_filter=where, exact=exact).count

        return self._counted(count, collection)

    def _counted(self, request: Callable[[QdrantClient, bool], Answer], collection: str) -> Answer:
        """Count exactly, or approximately if the collection's strict mode refuses exact counts."""
        if collection not in self._approximate:
            try:
                return self._ask(lambda client: request(client, True), collection, search=True)
            except SetupError as error:
                if EXACT_REFUSED not in str(error):
                    raise
                self._approximate.add(collection)
                logger.warning(
                    "Counts and facets are approximate, because strict mode refuses exact ones collection=%s",
                    collection,
                )
        return self._ask(lambda client: request(client, False), collection, search=True)


def _numbers(point: Point) -> int:
    """Return how many numbers take as much of a request as the point does, roughly."""
    words = point.words
    return sum(v.size for v in point.vectors.values()) + len(words.terms) + 2 * len(words.weights)


def _vectors(schema: Schema, on_disk: bool | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of the dense and of the sparse vectors."""
    from qdrant_client import models

    best_match = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    size, cosine = schema.dimension, models.Distance.COSINE
    dense = {
        TEXT: models.VectorParams(size=size, distance=cosine, on_disk=on_disk),
        IMAGE: models.VectorParams(
            size=size,
            distance=cosine,
            on_disk=on_disk,
            multivector_config=best_match if schema.multiple_images else None,
        ),
    }
    return dense, {WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)}
