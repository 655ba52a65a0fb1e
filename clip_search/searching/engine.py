"""What answers a search: the live collection, its store, and the model that built it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.cache import cache

from ..documents import Document
from ..encoder import Encoder, get_encoder
from ..exceptions import (
    CollectionMissing,
    ModelChanged,
    ModelUnavailable,
    SearchUnavailable,
    SetupError,
    SurroundingsError,
    in_one_line,
)
from ..models import Collection
from ..stores import get_store
from ..stores.base import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CACHE_SECONDS = 3600
FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The live collection and its store. The model comes in only where something is embedded."""

    collection: Collection
    store: Store

    @property
    def encoder(self) -> Encoder:
        """Return the model that built the collection. Raises ModelChanged, ModelUnavailable."""
        encoder = get_encoder()
        if self.collection.fingerprint != encoder.fingerprint:
            raise ModelChanged
        return encoder

    def held(self) -> AbstractContextManager[None]:
        """Keep the collection open meanwhile."""
        return self.store.held(self.collection.name)


def engine_of(document: Document) -> Engine:
    """Return what answers for a document. Raises CollectionMissing, SetupError."""
    collection = Collection.objects.live(document)
    if collection is None:
        raise CollectionMissing(
            f"Nothing of {document.name!r} is indexed yet. Run `manage.py clip_reindex {document.name}`."
        )
    return Engine(collection=collection, store=get_store())


@contextmanager
def answering() -> Iterator[None]:
    """Turn what keeps search from answering into SearchUnavailable, the cause and the remedy kept."""
    try:
        yield
    except ImportError as error:  # a package that is not installed here, or a class that is misspelt
        logger.warning("Search is unavailable error=%s", in_one_line(error))
        raise SearchUnavailable(f"{error}. Run `manage.py check`.") from error
    except (SurroundingsError, SetupError) as error:
        logger.warning("Search is unavailable error=%s", in_one_line(error))
        raise SearchUnavailable(str(error)) from error


@contextmanager
def embedding() -> Iterator[None]:
    """Turn what a loaded model fails with, such as a GPU that is out of memory, into ModelUnavailable."""
    try:
        yield
    except RuntimeError as error:  # torch has no narrower one
        reason = next(iter(str(error).splitlines()), "")
        raise ModelUnavailable(
            f"The model failed: {reason}. See its device, or restart this process."
        ) from error


def warm_up() -> bool:
    """Load what a search by words needs, so that no shopper waits for it: the text tower, not the other.

    For gunicorn's `post_worker_init` and its like. A shop comes up without search rather than not at
    all: what is wrong is logged, and False returned.
    """
    try:
        with answering(), embedding():
            get_encoder().warm_up(images=False)
    except SearchUnavailable:
        return False
    return True


def text_vector(engine: Engine, text: str) -> NDArray[np.float32]:
    """Embed a query's text, float32 (dim,), or take it from Django's cache."""
    import numpy as np

    encoder = engine.encoder
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    key = f"clip_search:{encoder.fingerprint}:{digest}"
    cached = _cached(key)
    if isinstance(cached, bytes) and len(cached) == FLOAT32_BYTES * engine.collection.dimension:
        return np.frombuffer(cached, dtype=np.float32)
    with embedding():
        vector: NDArray[np.float32] = encoder.embed_texts([text])[0]
    _keep(key, vector.tobytes())
    return vector


def _cached(key: str) -> object:
    try:
        return cache.get(key)
    except Exception as error:  # each backend raises its own: without a cache, search is only slower
        logger.warning("Cannot read from the cache error=%s", in_one_line(error))
        return None


def _keep(key: str, value: bytes) -> None:
    try:
        cache.set(key, value, CACHE_SECONDS)
    except Exception as error:
        logger.warning("Cannot write to the cache error=%s", in_one_line(error))
