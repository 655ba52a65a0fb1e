"""A query → the vectors that the store searches near."""

from __future__ import annotations

import hashlib
import logging
import uuid
from typing import TYPE_CHECKING

from django.core.cache import cache

from .. import images
from ..documents.binding import BoundDocument
from ..exceptions import in_one_line
from ..stores.base import Retriever
from ..types import IMAGE, TEXT
from .engine import Engine, model_errors
from .queries import ImageQuery, MoreLikeThis, Query, TextQuery

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CACHE_SECONDS = 3600
FLOAT32_BYTES = 4


def get_retrievers(document: BoundDocument, engine: Engine, query: Query) -> list[Retriever] | None:
    """Return what to search near. An empty list finds everything, in the order of ids; None finds nothing.

    Raises ModelChanged, ModelUnavailable, BadImage, StoreUnavailable.
    """
    if isinstance(query, TextQuery):
        if not query.words:
            return []
        vector = text_vector(engine, document.declaration.query_prompt.replace("{query}", query.words))
        return [Retriever(using=n, vector=vector, weight=w) for n, w in query.weights.items() if w]
    if isinstance(query, ImageQuery):
        return [Retriever(using=IMAGE, vector=image_vector(engine, query.data))]
    return stored_vectors(engine, query.product) if isinstance(query, MoreLikeThis) else None


def text_vector(engine: Engine, text: str) -> NDArray[np.float32]:
    """Return the vector of a text, float32 (dimension,), from Django's cache if it is there.

    A cache that does not work makes search slower, not unavailable. Each backend raises its own errors.
    """
    import numpy as np

    encoder = engine.encoder
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    key = f"clip_search:{encoder.fingerprint}:{digest}"
    try:
        cached = cache.get(key)
    except Exception as error:
        logger.warning("Cannot read from the cache error=%s", in_one_line(error))
        cached = None
    if isinstance(cached, bytes) and len(cached) == FLOAT32_BYTES * engine.collection.dimension:
        return np.frombuffer(cached, dtype=np.float32)
    with model_errors():
        vector: NDArray[np.float32] = encoder.embed_texts([text])[0]
    try:
        cache.set(key, vector.tobytes(), CACHE_SECONDS)
    except Exception as error:
        logger.warning("Cannot write to the cache error=%s", in_one_line(error))
    return vector


def image_vector(engine: Engine, data: bytes) -> NDArray[np.float32]:
    """Return the vector of an image file, float32 (dimension,)."""
    encoder = engine.encoder
    pixels = images.shrink(data, encoder.image_size)
    with model_errors():
        vector: NDArray[np.float32] = encoder.embed_images([pixels])[0]
    return vector


def stored_vectors(engine: Engine, product: uuid.UUID | None) -> list[Retriever] | None:
    """Return the vectors of a product, of several images the first; None if it is not in the index."""
    if product is None:
        return None
    point = engine.store.get(engine.collection.name, [product], vectors=True).get(product)
    vectors = point.vectors if point else {}
    found = []
    for name in (IMAGE, TEXT):
        if name in vectors:
            vector = vectors[name]
            found.append(Retriever(using=name, vector=vector if vector.ndim == 1 else vector[0]))
    return found or None
