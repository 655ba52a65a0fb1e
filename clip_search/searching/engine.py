"""What answers a search: the live collection, its store, and the model that built it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..documents.binding import BoundDocument
from ..encoders import get_encoder
from ..encoders.base import Encoder
from ..exceptions import (
    BackendUnavailable,
    CollectionMissing,
    ModelChanged,
    ModelUnavailable,
    SearchUnavailable,
    SetupError,
    in_one_line,
)
from ..models import Collection
from ..stores import get_store
from ..stores.base import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The live collection and its store. The model is needed only if something is embedded."""

    collection: Collection
    store: Store

    @property
    def encoder(self) -> Encoder:
        """The model that built the collection. Raises ModelChanged, ModelUnavailable."""
        encoder = get_encoder()
        if self.collection.fingerprint != encoder.fingerprint:
            raise ModelChanged
        return encoder


def get_engine(document: BoundDocument) -> Engine:
    """Return what answers the document's searches now. Raises CollectionMissing, SetupError."""
    collection = Collection.objects.live(document)
    if collection is None:
        raise CollectionMissing(
            f"Nothing of {document.name!r} is indexed yet. Run `manage.py clip_reindex {document.name}`."
        )
    return Engine(collection=collection, store=get_store())


@contextmanager
def answering() -> Iterator[None]:
    """Turn whatever keeps search from answering into SearchUnavailable, with the cause and the remedy."""
    try:
        yield
    except ImportError as error:  # a package that is not installed, or a misspelt class
        logger.warning("Search is unavailable error=%s", in_one_line(error))
        raise SearchUnavailable(f"{error}. Run `manage.py check`.") from error
    except (BackendUnavailable, SetupError) as error:
        logger.warning("Search is unavailable error=%s", in_one_line(error))
        raise SearchUnavailable(str(error)) from error


@contextmanager
def model_errors() -> Iterator[None]:
    """Turn the errors of a loaded model, such as a GPU that is out of memory, into ModelUnavailable."""
    try:
        yield
    except RuntimeError as error:  # torch has no narrower one
        reason = next(iter(str(error).splitlines()), "")
        raise ModelUnavailable(
            f"The model failed: {reason}. See its device, or restart this process."
        ) from error


def warm_up() -> bool:
    """Load the model's text part, which a search by words needs, so that no shopper waits for it.

    For gunicorn's `post_worker_init` and the like. Return whether it could be loaded. An error is logged and
    not raised, so that the shop starts in any case.
    """
    try:
        with answering(), model_errors():
            get_encoder().warm_up(images=False)
    except SearchUnavailable:
        return False
    return True
