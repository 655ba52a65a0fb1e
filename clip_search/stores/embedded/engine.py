"""Calls Qdrant's embedded engine (the package qdrant-edge-py), and turns its errors into ours."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ...exceptions import SetupError, StoreRefused, in_one_line
from ...types import IMAGE, TEXT, WORDS
from ..base import Schema
from ..filters import Dialect
from ..qdrant import refused

logger = logging.getLogger("clip_search")

SUPPORTED_OPTIONS = {"on_disk_payload"}


def load_engine() -> Any:
    """Return the module `qdrant_edge`. Raises SetupError if it is not installed."""
    try:
        import qdrant_edge
    except ImportError as error:
        raise SetupError(
            'CLIP_SEARCH["QDRANT"]["path"] needs one more package: '
            'pip install "django-clip-search[embedded]".'
        ) from error
    return qdrant_edge


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of the engine and return its result. Raises SetupError or StoreRefused.

    The engine raises only plain `Exception`, so the message decides.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        message = str(error)
        if message.startswith(("Vector dimension error", "Not existing vector name", "No appropriate index")):
            raise refused(message) from error
        raise StoreRefused(f"The embedded store failed: {message}.") from error


def dialect_of(edge: Any) -> Dialect:
    """Return the classes of the embedded engine for points and filters."""
    import numpy as np

    return Dialect(
        models=edge,
        point=edge.Point,
        upsert=lambda points, where: edge.UpdateOperation.upsert_points(points, condition=where),
        delete=edge.UpdateOperation.delete_points_by_filter,
        # qdrant-edge-py 0.9 reads True as the integer 1, which equals no stored boolean
        match=lambda value: edge.MatchValue(np.bool_(value) if isinstance(value, bool) else value),
        numbers=edge.RangeFloat,
        dates=edge.RangeDateTime,
        has_id=lambda ids: edge.HasIdCondition(set(ids)),
        has_vector=edge.HasVectorCondition,
        only=edge.PayloadSelector.Include,
        without=edge.PayloadSelector.Exclude,
    )


def config_of(edge: Any, schema: Schema) -> Any:
    """Return the engine's configuration of a new collection. Options for servers are ignored."""
    ignored = sorted(set(schema.options) - SUPPORTED_OPTIONS)
    if ignored:
        logger.info("Ignored by the embedded store: options=%s", ",".join(ignored))

    def vector(multivector: Any = None) -> Any:
        # With Memory.Cold, opening takes 0.1 s less, but a filtered search 0.5 s more (20,000 products).
        return edge.EdgeVectorParams(
            size=schema.dimension, distance=edge.Distance.Cosine, multivector_config=multivector
        )

    # With wal_enabled=False, opening takes a quarter less. But if a process is killed while it writes, the
    # engine (0.9) then silently ignores later writes to the same points.
    best_match = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    vectors = {TEXT: vector(), IMAGE: vector(best_match if schema.multiple_images else None)}
    try:
        return edge.EdgeConfig(
            vectors=vectors,
            sparse_vectors={WORDS: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            on_disk_payload=schema.options.get("on_disk_payload"),
        )
    except TypeError as error:
        message = f'CLIP_SEARCH["COLLECTION_OPTIONS"]["on_disk_payload"] cannot be used: {error}'
        raise SetupError(in_one_line(message)) from error
