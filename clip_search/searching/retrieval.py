"""Turn a query into the vectors that the store searches near."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.cache import cache

from .. import images
from ..documents.binding import BoundDocument
from ..encoders import get_encoder
from ..exceptions import ModelUnavailable, SearchUnavailable, in_one_line
from ..stores.base import Retriever
from ..types import IMAGE, TEXT, WORDS
from .live_collection import LiveCollection, as_search_unavailable
from .queries import PHOTO, ImageQuery, MoreLikeThis, Query, TextQuery

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

WeightedRetriever = tuple[float, Retriever]
CACHE_SECONDS = 3600
FLOAT32_BYTES = 4


def get_retrievers(document: BoundDocument, live: LiveCollection, query: Query) -> list[WeightedRetriever]:
    """Return the vectors to search near in meaning, with the weights of their rankings.

    Without one, there is nothing to be near to: the query has no words, or the index has no vectors of the
    product. Raises ModelChanged, ModelUnavailable, BadImage, StoreUnavailable.
    """
    if isinstance(query, TextQuery) and query.photo:
        return [(1.0, Retriever(using=IMAGE, vector=composed_vector(document, live, query)))]
    if isinstance(query, TextQuery):
        weights = [(name, query.weights[name]) for name in (TEXT, IMAGE) if query.weights[name]]
        if not query.parsed.meaning or not weights:
            return []
        vector = prompted_vector(document, live, query)
        return [(weight, Retriever(using=name, vector=vector)) for name, weight in weights]
    if isinstance(query, ImageQuery):
        return [(1.0, Retriever(using=IMAGE, vector=image_vector(live, query.data)))]
    if isinstance(query, MoreLikeThis):
        return [(1.0, retriever) for retriever in stored_vectors(live, query.product)]
    return []


def composed_vector(document: BoundDocument, live: LiveCollection, query: TextQuery) -> NDArray[np.float32]:
    """Return one vector for a photo and the words about it, float32 (dimension,): their weighted sum.

    Adding the two is the simplest composed query for CLIP (Baldrati et al., "Conditioned and composed image
    retrieval combining and partially fine-tuning CLIP-based features", CVPR 2022 workshops). Two rankings
    would find what is like the photo and, apart from that, what is like the words.
    """
    import numpy as np

    photo, words = query.weights.get(PHOTO, 1.0), query.weights[WORDS]
    if not (query.parsed.meaning and words):
        return image_vector(live, query.photo)
    vector = words * prompted_vector(document, live, query)
    if photo:
        vector = vector + photo * image_vector(live, query.photo)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def prompted_vector(document: BoundDocument, live: LiveCollection, query: TextQuery) -> NDArray[np.float32]:
    """Return the vector of the words of a query, in the sentence of the document's `query_prompt`."""
    return text_vector(live, document.declaration.query_prompt.replace("{query}", query.parsed.meaning))


def text_vector(live: LiveCollection, text: str) -> NDArray[np.float32]:
    """Return the vector of a text, float32 (dimension,). Django's cache keeps each vector for an hour.

    If the cache fails, the error is logged and the text is embedded again. Every exception of the cache is
    caught, because each cache backend raises exceptions of its own client library.
    """
    import numpy as np

    encoder = live.encoder
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    key = f"clip_search:{encoder.fingerprint}:{digest}"
    try:
        cached = cache.get(key)
    except Exception as error:
        logger.warning("Cannot read from the cache error=%s", in_one_line(error))
        cached = None
    if isinstance(cached, bytes) and len(cached) == FLOAT32_BYTES * live.collection.dimension:
        return np.frombuffer(cached, dtype=np.float32)
    with as_model_unavailable():
        vector: NDArray[np.float32] = encoder.embed_texts([text])[0]
    try:
        cache.set(key, vector.tobytes(), CACHE_SECONDS)
    except Exception as error:
        logger.warning("Cannot write to the cache error=%s", in_one_line(error))
    return vector


def image_vector(live: LiveCollection, data: bytes) -> NDArray[np.float32]:
    """Return the vector of an image, float32 (dimension,). `data` is the content of the image file."""
    encoder = live.encoder
    pixels = images.shrink(data, encoder.image_size)
    with as_model_unavailable():
        vector: NDArray[np.float32] = encoder.embed_images([pixels])[0]
    return vector


def stored_vectors(live: LiveCollection, product: uuid.UUID | None) -> list[Retriever]:
    """Return the vectors of a product in the index, none if the product is not there.

    If the product has several images, only the vector of the first one is used.
    """
    if product is None:
        return []
    point = live.store.get_for_search(live.collection.name, product)
    vectors = point.vectors if point else {}
    found = []
    for name in (IMAGE, TEXT):
        if name in vectors:
            vector = vectors[name]
            found.append(Retriever(using=name, vector=vector if vector.ndim == 1 else vector[0]))
    return found


@contextmanager
def as_model_unavailable() -> Iterator[None]:
    """Raise ModelUnavailable if the CLIP model fails, for example because a GPU has no free memory."""
    try:
        yield
    except RuntimeError as error:  # the class of most errors of torch
        reason = next(iter(str(error).splitlines()), "")
        raise ModelUnavailable(
            f"The CLIP model failed: {reason}. Check CLIP_SEARCH['DEVICE'], or restart this process."
        ) from error


def warm_up() -> bool:
    """Load the part of the CLIP model that embeds words, so that the first search does not wait for it.

    Call this when a web process starts, for example in gunicorn's `post_worker_init`. Return True if the
    model was loaded. If not, log the error and return False, so that the shop starts in any case.
    """
    try:
        with as_search_unavailable(), as_model_unavailable():
            get_encoder().warm_up(images=False)
    except SearchUnavailable:
        return False
    return True
