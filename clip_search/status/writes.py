"""Try whether the store accepts writes, without changing anything."""

from __future__ import annotations

import uuid
from typing import Final

from django.utils import timezone

from ..documents.binding import BoundDocument
from ..exceptions import (
    ClipSearchError,
    CollectionMismatch,
    SetupError,
    StoreFull,
    StoreRefused,
    in_one_line,
)
from ..models import Collection
from ..stores import get_store
from ..stores.identity import check_identity
from ..types import Point, Stamp

NOBODY: Final = uuid.UUID("e3c5a1d2-0f4b-5c6d-8e7f-1a2b3c4d5e6f")
"""The id of the point that is written. No product has it, because theirs are UUIDv5 of their ids."""


def try_writes(document: BoundDocument) -> None:
    """Write a tombstone to each collection of a document and remove it. Record in its row if that is refused.

    A store that does not answer at all is no refusal. Searches and counts do not see tombstones.
    """
    probe = Point(id=NOBODY, stamp=Stamp(product_id="", revision=1, removed=True))
    for collection in Collection.objects.of(document).active():
        if not collection.is_ours:
            continue
        collection.refusal, collection.refused_at = "", None
        try:
            check_identity(get_store(), collection.name, collection.dimension)
            get_store().drop(collection.name, [probe])
            get_store().purge(collection.name, [NOBODY])
        except CollectionMismatch:  # the status says so anyway
            continue
        except (StoreRefused, StoreFull, SetupError) as error:
            collection.refusal, collection.refused_at = in_one_line(error), timezone.now()
        except ClipSearchError:
            continue
        collection.save(update_fields=["refusal", "refused_at"])
