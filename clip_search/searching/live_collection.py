"""The live collection of a document: the one that searches read."""

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
    SearchMisconfigured,
    SearchUnavailable,
    SetupError,
    in_one_line,
)
from ..models import Collection
from ..models.tables import TablesMissing, naming_missing_tables
from ..stores import get_store
from ..stores.base import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCollection:
    """The collection that a document's searches read, and the store that contains it."""

    collection: Collection
    store: Store

    @property
    def encoder(self) -> Encoder:
        """Return the configured encoder. Raises ModelChanged if another CLIP model built the collection."""
        encoder = get_encoder()
        built_by = self.collection.fingerprint, self.collection.dimension
        if built_by != (encoder.fingerprint, encoder.dimension):
            raise ModelChanged
        return encoder


def get_live_collection(document: BoundDocument) -> LiveCollection:
    """Return the document's live collection.

    Raises CollectionMissing if nothing is indexed yet, and ForeignCollection if the collection belongs to
    another installation.
    """
    collection = Collection.objects.live(document)
    if collection is None:
        raise CollectionMissing(
            f"Nothing of {document.name!r} is indexed yet. Run `manage.py clip_reindex {document.name}`."
        )
    collection.check_installation()
    return LiveCollection(collection=collection, store=get_store())


@contextmanager
def as_search_unavailable() -> Iterator[None]:
    """Raise SearchUnavailable if the block fails for a reason that does not lie in the query.

    Such reasons are BackendUnavailable, SetupError, ImportError and missing tables. The message has the cause
    and the remedy.
    """
    try:
        with naming_missing_tables():
            yield
    except ImportError as error:  # a package is not installed, or the dotted path of a class is wrong
        logger.warning("Search is unavailable error=%s", in_one_line(error))
        raise SearchUnavailable(f"{error}. Run `manage.py check`.") from error
    except (BackendUnavailable, SetupError, TablesMissing) as error:
        logger.warning("Search is unavailable error=%s", in_one_line(error))
        is_setup = isinstance(error, SetupError | TablesMissing)
        unavailable = SearchMisconfigured if is_setup else SearchUnavailable
        raise unavailable(str(error)) from error
