"""qdrant-client's in-memory mode, with what a server refuses beyond it: the engine of the stubs of a server.

A server knows payload indexes and strict mode. `tests/assumptions/` has the same on a real one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from qdrant_client import QdrantClient, models


class QdrantMemory(QdrantClient):
    """Raises ValueError with the words of a server, which answers 400."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(":memory:")
        self.indexes: dict[str, dict[str, models.PayloadSchemaType]] = {}
        self.strict: dict[str, models.StrictModeConfig] = {}

    def create_collection(self, name: str, *args: Any, **options: Any) -> bool:
        strict = options.pop("strict_mode_config", None)
        made = super().create_collection(name, *args, **options)
        self.indexes[name] = {}
        self.strict[name] = strict or models.StrictModeConfig(enabled=False)
        return made

    def delete_collection(self, name: str, **options: Any) -> bool:
        return self.collection_exists(name) and super().delete_collection(name, **options)

    def create_payload_index(self, name: str, key: str, kind: models.PayloadSchemaType) -> Any:
        made = super().create_payload_index(name, key, kind)
        self.indexes[name][key] = kind
        return made

    def get_collection(self, name: str, **options: Any) -> models.CollectionInfo:
        info = super().get_collection(name, **options)
        schema = {k: models.PayloadIndexInfo(data_type=v, points=0) for k, v in self.indexes[name].items()}
        return info.model_copy(update={"payload_schema": schema})

    def query_batch_points(
        self, name: str, requests: list[models.QueryRequest], **options: Any
    ) -> list[models.QueryResponse]:
        for request in requests:
            self._check_filter(name, request.filter)
            self._check_vector(name, request.using, request.query)
        return super().query_batch_points(name, requests, **options)

    def count(self, name: str, **options: Any) -> models.CountResult:
        self._check_filter(name, options.get("count_filter"))
        self._check_exact(name, options.get("exact"))
        return super().count(name, **options)

    def facet(self, name: str, key: str, **options: Any) -> models.FacetResponse:
        self._check_filter(name, options.get("facet_filter"))
        self._check_exact(name, options.get("exact"))
        if key not in self.indexes[name]:
            raise ValueError(
                f"No appropriate index for faceting: `{key}`. Please create one to facet on this field"
            )
        return super().facet(name, key, **options)

    def _check_exact(self, name: str, exact: bool | None) -> None:
        strict = self.strict[name]
        if strict.enabled and exact and strict.search_allow_exact is False:
            raise ValueError("Exact search disabled!. Help: Set exact=false.")

    def _check_filter(self, name: str, where: models.Filter | None) -> None:
        strict = self.strict[name]
        if strict.enabled and strict.unindexed_filtering_retrieve is False and where:
            for key in keys(where.model_dump()):
                if key not in self.indexes[name]:
                    raise ValueError(f'Index required but not found for "{key}"')

    def _check_vector(self, name: str, using: str | None, query: Any) -> None:
        params = super().get_collection(name).config.params
        vectors = params.vectors
        if using and using not in {
            **(vectors if isinstance(vectors, dict) else {}),
            **(params.sparse_vectors or {}),
        }:
            raise ValueError(f"Not existing vector name error: {using}")
        vector = query.get("nearest") if isinstance(query, dict) else getattr(query, "nearest", query)
        if not (isinstance(vectors, dict) and using in vectors and isinstance(vector, list) and vector):
            return
        size = vectors[using].size
        if got := next((len(row) for row in as_rows(vector) if len(row) != size), 0):
            raise ValueError(f"Vector dimension error: expected dim: {size}, got {got}")


def as_rows(vector: list[Any]) -> list[list[float]]:
    """Return a vector, or the vectors of a multivector, as a list of vectors."""
    return vector if isinstance(vector[0], list) else [vector]


def keys(where: Any) -> Iterator[str]:
    """Yield the payload keys that a filter names."""
    if isinstance(where, dict):
        if isinstance(where.get("key"), str):
            yield where["key"]
        for value in where.values():
            yield from keys(value)
    elif isinstance(where, list):
        for value in where:
            yield from keys(value)
