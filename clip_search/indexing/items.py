"""One claimed entry on its way through the pipeline."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..models import IndexEntry
from ..types import Content, ImageStamp, Point, Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True)
class Item:
    """One claimed entry on its way through the pipeline."""

    entry: IndexEntry
    content: Content | None = None
    points: Mapping[str, Point] = field(default_factory=dict)
    """What each writable collection has of it, without vectors."""
    fingerprint: str = ""
    error: str = ""
    """What is wrong with the product itself."""
    postponed: str = ""
    """What is wrong around it, for now."""
    decoded: list[Future[tuple[ImageStamp, Any]]] = field(default_factory=list)
    stamps: tuple[ImageStamp, ...] = ()
    text_vector: NDArray[np.float32] | None = None
    image_vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """By hash of the image's bytes."""

    @property
    def id(self) -> uuid.UUID:
        return self.entry.uuid

    @property
    def known_in(self) -> str:
        """The first collection whose point our model made, or ""."""
        stamps = ((name, point.stamp) for name, point in self.points.items())
        return next((n for n, s in stamps if s.fingerprint == self.fingerprint and not s.removed), "")

    @property
    def known(self) -> Stamp | None:
        """The stamp of a point that our model made."""
        return self.points[self.known_in].stamp if self.known_in else None

    @property
    def stamp(self) -> Stamp:
        """What this item's point is to say of itself."""
        entry = self.entry
        base = Stamp(product_id=entry.product_id, revision=entry.claimed_revision, source=entry.source)
        if self.content is None:
            return replace(base, removed=True)
        return replace(base, **described(self.content), fingerprint=self.fingerprint, images=self.stamps)


def described(content: Content) -> dict[str, Any]:
    """Return the part of a stamp that comes from content without touching an image."""
    return {
        "text_hash": digest(content.text) if content.text else "",
        "payload_hash": digest(json.dumps(content.payload, sort_keys=True, default=str)),
        "exact": content.exact,
    }


def digest(text: str) -> str:
    """Return a short hash of text, hex."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def same(one: Stamp, other: Stamp) -> bool:
    """Say whether two stamps describe the same content, whatever their revisions."""
    return replace(one, revision=other.revision) == other
