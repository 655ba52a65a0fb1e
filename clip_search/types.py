"""The frozen values that are passed between the rooms."""

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
    """Return the id of the point of (document, product_id): UUIDv5, the same in every process."""
    return uuid.uuid5(_namespace(document), product_id)


@lru_cache(maxsize=128)
def _namespace(document: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, document)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """An image in a storage; nothing is read before `open()` is called.

    A host's `get_images()` may return these instead of the files of an ImageField.
    """

    name: str
    signature: str
    """A string that changes when the file does, such as its name, size and time of change."""
    open: Callable[[], IO[bytes]] = field(compare=False)
    local: bool = field(default=False, compare=False)
    """Whether the file is on a local disk. Of other files, several are read at once on each core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What one product says and shows now."""

    product_id: str
    text: str
    images: tuple[ImageSource, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with values that do not fit their filters, by filter. They are not in the payload."""
    exact: tuple[str, ...] = ()
    without_row: bool = False
    """Whether the product was posted, and the shop has no row of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStamp:
    """An image that was read: its signature at that time, and the hash of its bytes, "" if it is missing."""

    signature: str
    hash: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What is known of a point. It is stored in the point, under `_clip` in its payload."""

    product_id: str
    revision: int
    source: str = MODEL_SOURCE
    fingerprint: str = ""
    text_hash: str = ""
    payload_hash: str = ""
    images: tuple[ImageStamp, ...] = ()
    exact: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    """The filters whose value is invalid: the point meets no condition on them."""
    without_row: bool = False
    """Whether the shop had no row of the product. Results in Python leave it out."""
    removed: bool = False

    def as_payload(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}  # `asdict` takes ten times as long
        images = [{name: getattr(image, name) for name in image.__slots__} for image in self.images]
        return values | {"images": images, "exact": list(self.exact), "invalid": list(self.invalid)}

    @classmethod
    def from_payload(cls, values: Mapping[str, Any]) -> Stamp:
        """Return what `as_payload()` wrote; keys of a later version are ignored."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        known["images"] = tuple(ImageStamp(**image) for image in values.get("images", ()))
        known["exact"] = tuple(values.get("exact", ()))
        known["invalid"] = tuple(values.get("invalid", ()))
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One product in the store.

    `vectors` maps "text" to float32 (dimension,), and "image" to float32 (dimension,), or to (k, dimension)
    in a collection with several images a product. Either may be missing.
    """

    id: uuid.UUID
    stamp: Stamp
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One product that a search found. `instance` is None for a posted product without a row in the shop."""

    product_id: str
    score: float
    payload: Mapping[str, Any] = field(default_factory=dict)
    source: str = MODEL_SOURCE
    instance: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of indexing, as numbers of products. `without_image` overlaps the others."""

    embedded: int = 0
    payload_only: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    without_image: int = 0
    postponed: int = 0

    @classmethod
    def total(cls, reports: Iterable[Report]) -> Report:
        """Return the sums of several reports."""
        each = list(reports)
        return cls(**{f.name: sum(getattr(report, f.name) for report in each) for f in fields(cls)})

    def __add__(self, other: Report) -> Report:
        return Report.total([self, other])

    @property
    def products(self) -> int:
        """The number of products that were processed."""
        return self.embedded + self.payload_only + self.unchanged + self.removed + self.failed
