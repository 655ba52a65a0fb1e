"""Queries as dataclasses: a search by words, by a photo, or for products like another one."""

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
from ..documents.declaration import WEIGHTS
from ..encoders.base import TEXT_LIMIT
from ..exceptions import BadFilterValue
from ..stores.base import Condition
from .parsing import ParsedText, parse

Weights = Mapping[str, float]
PHOTO: Final = "photo"
"""The name of the weight of a photo in a search by words and a photo."""
LARGEST_SIDE: Final = 1024
"""A larger Pillow image is reduced to this many pixels a side. No CLIP model reads more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The attributes that all kinds of queries have."""

    conditions: Sequence[Condition] = ()
    min_score: float | None = None
    """Products with a lower cosine are not found. If it is None, the cosine does not matter."""
    exclude: Sequence[uuid.UUID] = ()
    """Points with these ids are not found."""
    needs_embedding: bool = False
    """True if the CLIP model must embed the query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuery(Query):
    """A search by words. If `words` is empty, all products that meet the conditions are found."""

    words: str
    parsed: ParsedText
    weights: Weights
    """How much each ranking counts: "text", "image", "words" and, with a photo, "photo"."""
    everything: bool = False
    """Whether the whole shop is ranked, rather than only what is found."""
    photo: bytes = field(default=b"", repr=False)
    """The content of the image file that the words speak about, or b""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery(Query):
    """A search by a photo. `data` is the content of its image file."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreLikeThis(Query):
    """A search for products like another one, near the vectors that the index has of that product."""

    product: uuid.UUID | None
    """The point id of the other product. If it is None, because no point stands for it, nothing is found."""


def text_query(
    document: BoundDocument,
    text: Any,
    conditions: Sequence[Condition],
    weights: Weights,
    *,
    min_score: Any = None,
    everything: bool | None = None,
    image: Any = None,
) -> TextQuery:
    """Return a search by words, or by words and a photo.

    Raises TypeError if `text` is no string, ValueError if a weight is wrong, BadFilterValue if `min_score` is
    no cosine, and BadImage.
    """
    if not isinstance(text, str | Promise):
        raise TypeError(f"Search for a string, not for {type(text).__name__}.")
    words = " ".join(str(text)[:TEXT_LIMIT].split())
    parsed = parse(document, words)
    photo = b"" if image is None else checked_image(image)
    ranks_all = document.declaration.everything if everything is None else everything
    return TextQuery(
        words=words,
        parsed=parsed,
        needs_embedding=bool(parsed.meaning or photo),
        weights=checked_weights({**WEIGHTS, **document.declaration.weights, **weights}),
        conditions=conditions,
        min_score=checked_score(min_score),
        everything=ranks_all or bool(photo) or not words,
        photo=photo,
    )


def checked_weights(weights: Weights) -> dict[str, float]:
    """Return the weights as floats. Raises ValueError for a wrong one."""
    unknown = sorted(set(weights) - {*WEIGHTS, PHOTO})
    if unknown:
        known = ", ".join((*WEIGHTS, PHOTO))
        raise ValueError(f"There is no weight {unknown[0]!r}. The weights are: {known}.")
    found = {name: float(weight) for name, weight in weights.items()}
    for name, weight in found.items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"The weight {name!r} is {weight}. Give a number from 0 up.")
    if not any(found.values()):
        raise ValueError("All weights are 0. Give one of them a positive number.")
    return found


def image_query(image: Any, conditions: Sequence[Condition], min_score: Any) -> ImageQuery:
    """Return a search by a photo: an open file, bytes or a Pillow image.

    Raises BadImage if the file is no image, TypeError for other objects, and BadFilterValue if `min_score` is
    no cosine.
    """
    return ImageQuery(
        data=checked_image(image),
        needs_embedding=True,
        conditions=conditions,
        min_score=checked_score(min_score),
    )


def checked_image(image: Any) -> bytes:
    """Return a photo as the content of an image file. Raises BadImage if the file is no image, TypeError."""
    data = image_bytes(image)
    images.check(io.BytesIO(data))
    return data


def image_bytes(image: Any) -> bytes:
    """Return a photo as the content of an image file. Raises BadImage if the photo cannot be read.

    A path raises TypeError: a path that a client sent would otherwise open any file of the server.
    """
    if hasattr(image, "getbands"):
        return images.encoded(image, LARGEST_SIDE)
    if isinstance(image, bytes | bytearray | memoryview):
        return images.read(io.BytesIO(image))
    was_closed = isinstance(image, File) and image.closed  # reading opens the file of a model field
    if not hasattr(image, "read"):
        raise TypeError(f"{type(image).__name__} is no image. Give a file, bytes or a Pillow image.")
    file: IO[bytes] = image
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)  # a form may have read the file already
    try:
        return images.read(file)
    finally:
        if was_closed:
            file.close()


def more_like_this(
    document: BoundDocument, product: Any, conditions: Sequence[Condition], min_score: Any
) -> MoreLikeThis:
    """Return a search for products like another one, which is given as a row or a product id.

    Raises TypeError for None or an object of another Django model, and BadFilterValue if `min_score` is no
    cosine.
    """
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
    """Return `min_score` as a float, or None if it is None. Raises BadFilterValue if it is no cosine."""
    if score is None:
        return None
    try:
        lowest = float(score)
    except (TypeError, ValueError):
        lowest = math.nan
    if not -1 <= lowest <= 1:
        raise BadFilterValue(f"min_score is {score!r:.99}. Give a cosine, from -1 to 1.")
    return lowest
