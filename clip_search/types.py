"""Immutable values that the parts of this package pass to each other."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


TEXT = "text"
IMAGE = "image"
WORDS = "words"
MODEL_SOURCE = "model"
POSTED_SOURCE = "posted"

Basis = Literal["exact", "words", "meaning"]

_NAMESPACE = uuid.UUID("6f0c3f3e-5d1b-5f0e-9a61-0d3c2f6c7a11")


def point_id(document: str, product_id: str) -> uuid.UUID:
    """Return the id of a product's point in the store: a UUIDv5 of the document's name and the product id."""
    return uuid.uuid5(_namespace(document), product_id)


@lru_cache(maxsize=128)
def _namespace(document: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, document)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """An image file that is not read before `open()` is called.

    A document's `get_images()` may return these instead of the files of an ImageField.
    """

    name: str
    signature: str
    """A string that changes with the file, usually made of its name, size and modification time."""
    open: Callable[[], IO[bytes]] = field(compare=False)
    local: bool = field(default=False, compare=False)
    """True if the file is on a local disk. Other files are slow to read, so more are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of one product's texts."""

    terms: Sequence[str] = ()
    """The stems and joined words that filters can test, without duplicates. See `documents.words`."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How much each stem says about the product: BM25 without the inverse document frequency."""
    vocabulary: frozenset[str] = frozenset()
    """The words as they are written, folded; for suggestions and corrections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of one product that is to be indexed: its text, images and payload."""

    product_id: str
    text: str
    searched: tuple[tuple[str, float], ...] = ()
    """The texts whose words find the product, each with its weight."""
    images: tuple[ImageSource, ...] = ()
    payload: Mapping[str, Any] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)
    """Error messages by filter, for values that do not fit. The payload does not contain these values."""
    exact: tuple[str, ...] = ()
    """The values of the exact fields, such as the SKU, in the form in which they are compared."""
    codes: tuple[str, ...] = ()
    """The values of the exact fields as they are written. Those with a digit are found by their parts too."""
    without_row: bool = False
    """True if the product was posted, and the shop has no row with its product id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStamp:
    """The stamp of one image that was read: its signature at that time, and the hash of its bytes.

    If the image cannot be used, `error` says why. `hash` is "" if the file could not be read.
    """

    signature: str
    hash: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The facts about a point that tell whether it must be indexed again: its revision, hashes, and more.

    Each point contains its own stamp, under the key `_clip` of its payload.
    """

    product_id: str
    revision: int
    source: str = MODEL_SOURCE
    fingerprint: str = ""
    text_hash: str = ""
    words_hash: str = ""
    """The hash of the searched texts, the codes, and the way in which they were split into words."""
    payload_hash: str = ""
    images: tuple[ImageStamp, ...] = ()
    exact: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    """The filters whose value is invalid. The point meets no condition on these filters."""
    truncated: bool = False
    """True if the text is longer than the CLIP model reads, so that its end was not embedded."""
    without_row: bool = False
    """True if the product was posted, and the shop has no row of it. `SearchResults` leaves it out."""
    removed: bool = False
    """True if this is the stamp of a tombstone."""

    def as_payload(self) -> dict[str, Any]:
        """Return the stamp as a dict of plain JSON values, without those that are the default.

        Each text and each list that is left out saves 5 µs: the embedded engine is slow to convert them.
        """
        values = _without_defaults(self)  # `asdict()` takes ten times as long
        if self.images:
            values["images"] = [_without_defaults(image) for image in self.images]
        return values

    @classmethod
    def from_payload(cls, values: Mapping[str, Any]) -> Stamp:
        """Return the stamp that `as_payload()` has converted. Keys of a later version are ignored."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        known["images"] = tuple(ImageStamp(**image) for image in values.get("images", ()))
        known["exact"] = tuple(values.get("exact", ()))
        known["invalid"] = tuple(values.get("invalid", ()))
        return cls(**known)


_DEFAULTS: Final = {kind: {one.name: one.default for one in fields(kind)} for kind in (ImageStamp, Stamp)}


def _without_defaults(stamp: ImageStamp | Stamp) -> dict[str, Any]:
    """Return the fields of a stamp that do not have their default. Tuples become lists."""
    values = {}
    for name, default in _DEFAULTS[type(stamp)].items():
        if (value := getattr(stamp, name)) != default:
            values[name] = list(value) if isinstance(value, tuple) else value
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One product as the store holds it.

    `vectors` has a float32 array for "text" and one for "image", of the shape (dimension,). In a collection
    with several images per product, "image" has the shape (number of images, dimension). Either key may be
    missing.
    """

    id: uuid.UUID
    stamp: Stamp
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    words: Words = Words()
    """The words to write. They are not read back: a stored point has none here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One product that a search found.

    `instance` is its row. It is None if rows were not read, or if a posted product has no row in the shop.
    """

    product_id: str
    score: float
    """The cosine similarity, if the search compared one vector; otherwise the merged score, from 0 to 1."""
    basis: Basis = "meaning"
    """Why the product was found: an exact field equals the query, its words do, or it is near in meaning."""
    relevance: float = 0.0
    """From 0 to 1, never higher than that of an earlier hit unless the results are sorted by filters.

    Comparable within one search only."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    source: str = MODEL_SOURCE
    instance: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValue:
    """One value of a facet, and how many of the products that were found have it."""

    value: Any
    """What to filter by: a string or a bool. For a range its `start`, for a period its first day."""
    label: str
    """What a shopper reads."""
    count: int
    chosen: bool = False
    """True if the search is filtered by this value."""
    start: float | datetime.date | None = None
    """The lowest number of a range or the first day of a period: filter by `price__gte`. None if open."""
    end: float | datetime.date | None = None
    """The end of a range or period, which does not belong to it: filter by `price__lt`. None if open."""
    children: tuple[FacetValue, ...] = ()
    """The values below this one in a tree, each counted in this one too."""


class Facet(list[FacetValue]):
    """The values of one filter: a list, with the lowest and the highest value for numbers and dates."""

    def __init__(
        self,
        values: Iterable[FacetValue] = (),
        *,
        minimum: float | datetime.datetime | None = None,
        maximum: float | datetime.datetime | None = None,
        exact: bool = True,
    ) -> None:
        super().__init__(values)
        self.minimum = minimum
        """The lowest value among the products, for a slider. Datetimes are in `TIME_ZONE`."""
        self.maximum = maximum
        self.exact = exact
        """False if the store has only estimated the counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of indexing, counted in products.

    Each product is counted once, and again in `without_image` if it has no image.
    """

    embedded: int = 0
    """Products of which the text or an image was embedded."""
    payload_only: int = 0
    """Products of which nothing had to be embedded, because only other values are new, such as the price."""
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    """Products that cannot be indexed as they are."""
    without_image: int = 0
    postponed: int = 0
    """Products that will be indexed later, because a storage did not answer."""

    @classmethod
    def total(cls, reports: Iterable[Report]) -> Report:
        """Return a report with the sums of several reports."""
        each = list(reports)
        return cls(**{f.name: sum(getattr(report, f.name) for report in each) for f in fields(cls)})

    def __add__(self, other: Report) -> Report:
        return Report.total([self, other])

    @property
    def products(self) -> int:
        """Return the number of products that were processed. Postponed ones are not among them."""
        return self.embedded + self.payload_only + self.unchanged + self.removed + self.failed
