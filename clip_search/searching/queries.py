"""What is searched for, as data: words, a photo, or what is like a product."""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

from django.core.files.base import File
from django.db.models import Model
from django.utils.functional import Promise

from .. import images
from ..documents.binding import BoundDocument
from ..documents.text import normalise
from ..encoders.base import TEXT_LIMIT
from ..exceptions import BadFilterValue, BadImage
from ..stores.base import Condition
from ..types import IMAGE, TEXT

Weights = Mapping[str, float]
LARGEST_SIDE: Final = 1024
"""Pixels to which a Pillow image is reduced before it is encoded: more than any model uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What every search has."""

    conditions: Sequence[Condition] = ()
    min_score: float | None = None
    """The lowest cosine of a hit, or None."""
    exclude: Sequence[uuid.UUID] = ()
    """The ids of points that are not to be found."""
    exact: str = ""
    """The words in the form in which exact names are compared: products of that name come first."""
    needs_model: bool = False
    """Whether it is embedded by a model, which takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuery(Query):
    """A search by words. Without words, it finds everything that meets the conditions."""

    words: str
    weights: Weights
    """Of "text" and "image"; the larger one is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery(Query):
    """A search by a photo."""

    data: bytes = field(repr=False)
    """The bytes of the image file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreLikeThis(Query):
    """A search for products like one that is in the index, by its vectors."""

    product: uuid.UUID | None
    """The id of its point; None for an object that no point stands for."""


def text_query(
    document: BoundDocument, text: Any, conditions: Sequence[Condition], weights: Weights
) -> TextQuery:
    """Return a search by words. Raises ValueError if the weights are invalid, TypeError if the text is."""
    if not isinstance(text, str | Promise):
        raise TypeError(f"Search for text, not for {type(text).__name__}.")
    words = " ".join(str(text)[:TEXT_LIMIT].split())
    shares = as_shares({**document.declaration.weights, **weights})
    return TextQuery(
        words=words,
        exact=normalise(words),
        needs_model=bool(words),
        weights=shares,
        conditions=conditions,
    )


def as_shares(weights: Weights) -> dict[str, float]:
    """Return weights with the same ratio, of which the largest is 1. Raises ValueError if they are invalid.

    Reciprocal rank fusion in Qdrant is not linear in the weights: a large one makes its own list count less.
    """
    unknown = sorted(set(weights) - {TEXT, IMAGE})
    if unknown:
        raise ValueError(f"There is no weight {unknown[0]!r}. There are: {TEXT}, {IMAGE}.")
    found = {name: float(weights.get(name, 0)) for name in (TEXT, IMAGE)}
    for name, weight in found.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"The weight {name!r} is {weight}. Give a number from 0 up.")
    largest = max(found.values())
    if not largest:
        raise ValueError("Both weights are 0. Give one of them a positive number.")
    return {name: weight / largest for name, weight in found.items()}


def image_query(image: Any, conditions: Sequence[Condition], min_score: Any) -> ImageQuery:
    """Return a search by a photo: a file, bytes or a Pillow image. Raises BadImage, TypeError."""
    data = image_bytes(image)
    images.check(io.BytesIO(data))
    return ImageQuery(data=data, needs_model=True, conditions=conditions, min_score=checked_score(min_score))


def image_bytes(image: Any) -> bytes:
    """Return a photo as the bytes of a file. Raises BadImage; TypeError for a path, which is never opened."""
    if hasattr(image, "getbands"):
        return _encoded(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return images.read(io.BytesIO(image))
    was_closed = isinstance(image, File) and image.closed  # a field's file opens when it is read
    if not hasattr(image, "read"):
        raise TypeError(f"{type(image).__name__} is no image. Give a file, bytes or a Pillow image.")
    file: IO[bytes] = image
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)  # a form may have read from it
    try:
        return images.read(file)
    finally:
        if was_closed:
            file.close()


def _encoded(picture: Any) -> bytes:
    """Return a Pillow image as a small PNG with its transparency and orientation. Raises BadImage."""
    buffer = io.BytesIO()
    try:
        exif = picture.getexif()
        small = picture.convert("RGBA")
        small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        small.save(buffer, "PNG", exif=exif)
    except (OSError, ValueError, SyntaxError) as error:  # it is read from its file only now
        raise BadImage(f"The image is truncated or corrupt ({error}). Upload it again.") from error
    return buffer.getvalue()


def more_like_this(
    document: BoundDocument, product: Any, conditions: Sequence[Condition], min_score: Any
) -> MoreLikeThis:
    """Return a search for what is like a product, given as a row or an id. Raises TypeError."""
    if product is None:
        raise TypeError("Give a product or its id, not None.")
    product_id: str | None = None if isinstance(product, Model) else str(product)
    if isinstance(product, Model):
        row = document.declaration.index_as(document.checked_row(product))
        if row is not None and row.pk is not None:
            product_id = document.declaration.product_id(row)
    own = None if product_id is None else document.point_id(product_id)
    return MoreLikeThis(
        product=own,
        exclude=[own] if own else [],
        conditions=conditions,
        min_score=checked_score(min_score),
    )


def checked_score(score: Any) -> float | None:
    """Return the lowest cosine that is wanted, or None. Raises BadFilterValue."""
    if score is None:
        return None
    try:
        lowest = float(score)
    except (TypeError, ValueError):
        lowest = math.nan
    if not -1 <= lowest <= 1:
        raise BadFilterValue(f"min_score is {score!r:.99}. Give a cosine, from -1 to 1.")
    return lowest
