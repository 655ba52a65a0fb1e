"""One claimed entry on its way through the pipeline."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ..models import IndexEntry
from ..types import IMAGE, Content, ImageStamp, Point, Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SORTED: Final = json.JSONEncoder(sort_keys=True, default=str)
all_but_revision: Final = attrgetter(*(field.name for field in fields(Stamp) if field.name != "revision"))


@dataclass
class Item:
    """One claimed entry on its way through the pipeline."""

    entry: IndexEntry
    fingerprint: str
    """Of the model that embeds it."""
    content: Content | None = None
    """What the product says and shows now; None if it is to be removed."""
    error: str = ""
    """What is wrong with the product itself."""
    postponed: str = ""
    """Why the product has to wait, such as a storage that does not answer."""
    points: Mapping[str, Point] | None = None
    """The product's point in each writable collection that has one; None before the store was asked."""
    loading: list[Future[tuple[ImageStamp, Any]]] = field(default_factory=list)
    """The images that are being loaded: their stamps, and their pixels if they must be embedded."""
    stamps: tuple[ImageStamp, ...] = ()
    text_vector: NDArray[np.float32] | None = None
    image_vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """The vectors that were embedded now, by the hash of the image's bytes."""

    @cached_property
    def reusable(self) -> Point | None:
        """The first point that our model built: its vectors can be reused."""
        for point in (self.points or {}).values():
            if point.stamp.fingerprint == self.fingerprint and not point.stamp.removed:
                return point
        return None

    @cached_property
    def reusable_images(self) -> dict[str, NDArray[np.float32]]:
        """The image vectors that can be reused, by the hash of the image's bytes."""
        if self.reusable is None or IMAGE not in self.reusable.vectors:
            return {}
        rows = self.reusable.vectors[IMAGE]
        hashes = [stamp.hash for stamp in self.reusable.stamp.images if not stamp.error]
        return dict(zip(hashes, rows.reshape(-1, rows.shape[-1]), strict=False))

    @property
    def stamp(self) -> Stamp:
        """The stamp that this item's point gets."""
        entry, content = self.entry, self.content
        if content is None:
            return Stamp(
                product_id=entry.product_id,
                revision=entry.claimed_revision,
                source=entry.source,
                removed=True,
            )
        text_hash, payload_hash = self._hashes
        return Stamp(
            product_id=entry.product_id,
            revision=entry.claimed_revision,
            source=entry.source,
            fingerprint=self.fingerprint,
            text_hash=text_hash,
            payload_hash=payload_hash,
            images=self.stamps,
            exact=content.exact,
            invalid=tuple(sorted(content.invalid)),
            without_row=content.without_row,
        )

    @cached_property
    def _hashes(self) -> tuple[str, str]:
        """The hashes of the text and of the payload."""
        text, payload = (self.content.text, self.content.payload) if self.content else ("", {})
        return hash_text(text), hash_text(SORTED.encode(payload))


def hash_text(text: str) -> str:
    """Return a short hash of a text as hex digits, or "" for no text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest() if text else ""


def is_same_content(one: Stamp, other: Stamp) -> bool:
    """Return whether two stamps describe the same content, whatever their revisions."""
    return bool(all_but_revision(one) == all_but_revision(other))
