"""The frozen values that cross rooms."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TEXT = "text"
IMAGE = "image"
MODEL_SOURCE = "model"
POSTED_SOURCE = "posted"

_NAMESPACE = uuid.UUID("6f0c3f3e-5d1b-5f0e-9a61-0d3c2f6c7a11")


def point_id(document: str, product_id: str) -> uuid.UUID:
    """Return the one id that (document, product_id) has everywhere, whoever computes it (UUIDv5)."""
    return uuid.uuid5(_namespace(document), product_id)


@lru_cache(maxsize=128)
def _namespace(document: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, document)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """An image as it lies in storage: nothing is read until `open` is called.

    `signature` changes when the file does, and costs no read: name, size and time of change.
    """

    name: str
    signature: str
    open: Callable[[], IO[bytes]] = field(compare=False)
    local: bool = field(default=False, compare=False)
    """Whether a disk here has it. Of others, which are waited for, several are read at once on each core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What one product says and shows now."""

    product_id: str
    text: str
    images: tuple[ImageSource, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    exact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStamp:
    """An image that was read: its signature then, and the hash of its bytes, "" where it was broken."""

    signature: str
    hash: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What is known of a point, kept in the point, under `_clip` in its payload."""

    product_id: str
    revision: int
    source: str = MODEL_SOURCE
    fingerprint: str = ""
    text_hash: str = ""
    payload_hash: str = ""
    images: tuple[ImageStamp, ...] = ()
    exact: tuple[str, ...] = ()
    removed: bool = False

    def as_payload(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        images = [_values(image) for image in self.images]
        return _values(self) | {"images": images, "exact": list(self.exact)}

    @classmethod
    def from_payload(cls, values: Mapping[str, Any]) -> Stamp:
        """Read what `as_payload` wrote; keys of a later version are ignored."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        known["images"] = tuple(ImageStamp(**image) for image in values.get("images", ()))
        known["exact"] = tuple(values.get("exact", ()))
        return cls(**known)


def _values(of: ImageStamp | Stamp) -> dict[str, Any]:
    """Return the fields and their values; `asdict`, which copies all deeply, takes ten times as long."""
    return {name: getattr(of, name) for name in of.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One product in the store.

    `vectors` maps "text" to float32 (dim,) and "image" to float32 (dim,), or (k, dim) in a collection
    of several images a product. Either may be missing.
    """

    id: uuid.UUID
    stamp: Stamp
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One answer of a search: `instance` is None for a posted product without a row in the shop."""

    product_id: str
    score: float
    payload: Mapping[str, Any] = field(default_factory=dict)
    source: str = MODEL_SOURCE
    instance: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an indexing run did, in products. `without_image` overlaps the others."""

    embedded: int = 0
    payload_only: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    without_image: int = 0
    postponed: int = 0

    @classmethod
    def total(cls, reports: Iterable[Report]) -> Report:
        """Return what the runs did together."""
        each = list(reports)
        return cls(**{f.name: sum(getattr(report, f.name) for report in each) for f in fields(cls)})

    def __add__(self, other: Report) -> Report:
        return Report.total([self, other])

    @property
    def products(self) -> int:
        """How many products were looked at."""
        return self.embedded + self.payload_only + self.unchanged + self.removed + self.failed
