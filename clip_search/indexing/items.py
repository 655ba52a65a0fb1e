"""One claimed entry on its way through the pipeline."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ..models import IndexEntry
from ..types import IMAGE, Content, ImageSource, ImageStamp, Point, Stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SORTED: Final = json.JSONEncoder(sort_keys=True, default=str)
saying = attrgetter(*(field.name for field in fields(Stamp) if field.name != "revision"))


@dataclass
class Item:
    """One claimed entry on its way through the pipeline."""

    entry: IndexEntry
    content: Content | None = None
    points: Mapping[str, Point] = field(default_factory=dict)
    """What each writable collection has of it."""
    looked_up: bool = False
    """Whether the store was asked for the points."""
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
    def sources(self) -> Sequence[ImageSource]:
        """The images as they lie in storage now."""
        return self.content.images if self.content else ()

    @cached_property
    def kept(self) -> Point | None:
        """The first point that our model made, of which vectors can be kept."""
        points = self.points.values()
        return next(
            (p for p in points if p.stamp.fingerprint == self.fingerprint and not p.stamp.removed), None
        )

    @cached_property
    def kept_images(self) -> dict[str, NDArray[np.float32]]:
        """The image vectors that can be kept, by the hash of their image."""
        if self.kept is None or IMAGE not in self.kept.vectors:
            return {}
        rows = self.kept.vectors[IMAGE]
        hashes = [stamp.hash for stamp in self.kept.stamp.images if not stamp.error]
        return dict(zip(hashes, rows.reshape(-1, rows.shape[-1]), strict=False))

    @property
    def known(self) -> Stamp | None:
        """The stamp of a point that our model made."""
        return self.kept.stamp if self.kept else None

    @property
    def stamp(self) -> Stamp:
        """What this item's point is to say of itself."""
        entry = self.entry
        who: dict[str, Any] = {
            "product_id": entry.product_id,
            "revision": entry.claimed_revision,
            "source": entry.source,
        }
        if self.content is None:
            return Stamp(**who, removed=True)
        return Stamp(**who, **self._description, fingerprint=self.fingerprint, images=self.stamps)

    @cached_property
    def _description(self) -> dict[str, Any]:
        return described(self.content) if self.content else {}


def described(content: Content) -> dict[str, Any]:
    """Return the part of a stamp that comes from content without touching an image."""
    return {
        "text_hash": digest(content.text) if content.text else "",
        "payload_hash": digest(SORTED.encode(content.payload)),
        "exact": content.exact,
    }


def digest(text: str) -> str:
    """Return a short hash of text, hex."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def same(one: Stamp, other: Stamp) -> bool:
    """Say whether two stamps describe the same content, whatever their revisions."""
    return saying(one) == saying(other)
