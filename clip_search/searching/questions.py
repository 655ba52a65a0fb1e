"""What is asked: the legs, the conditions and the names of one search, before any page of it is wanted."""

from __future__ import annotations

import io
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from django.core.files.base import File
from django.db.models import Model
from django.utils.functional import Promise

from .. import images
from ..documents import Document, normalise
from ..encoder import TEXT_LIMIT, shrunk
from ..exceptions import BadFilterValue, BadImage
from ..stores.base import Condition, Leg
from ..types import IMAGE, TEXT
from .engine import Engine, embedding, text_vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shares = Mapping[str, float]
LARGEST_SIDE: Final = 1024
"""Pixels that a Pillow image is shrunk to before it is written as a file: more than any model looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One search. `legs` is called once, when the first page is wanted.

    No leg at all: everything that meets the conditions, in the order of ids. None: nothing is found.
    """

    legs: Callable[[Engine], Sequence[Leg] | None]
    embeds: bool = True
    """Whether `legs` asks a model, which takes its time: it is then called before the store is held."""
    using: Sequence[str] = ()
    """Names of the vectors that it is asked by, as far as they are known before `legs` is called."""
    conditions: Sequence[Condition] = ()
    without: Sequence[uuid.UUID] = ()
    exact: str = ""
    min_score: float | None = None


def about_text(document: Document, text: str, conditions: Sequence[Condition], weights: Shares) -> Question:
    """Ask by words. Raises ValueError where the weights are none, TypeError where the text is."""
    if not isinstance(text, str | Promise):
        raise TypeError(f"Search for text, not for {type(text).__name__}.")
    words = " ".join(str(text)[:TEXT_LIMIT].split())
    shares = checked_weights({**document.weights, **weights})

    def legs(engine: Engine) -> list[Leg]:
        vector = text_vector(engine, document.query_prompt.replace("{query}", words))
        return [Leg(using=name, vector=vector, weight=share) for name, share in shares.items() if share]

    if not words:
        return Question(legs=lambda engine: (), embeds=False, conditions=conditions)
    using = [name for name, share in shares.items() if share]
    return Question(legs=legs, using=using, conditions=conditions, exact=normalise(words))


def checked_weights(weights: Shares) -> dict[str, float]:
    """Return the weight of each vector. Raises ValueError where a search could not go by them."""
    unknown = sorted(set(weights) - {TEXT, IMAGE})
    if unknown:
        raise ValueError(f"There is no weight {unknown[0]!r}. There are: {TEXT}, {IMAGE}.")
    shares = {name: float(weights.get(name, 0)) for name in (TEXT, IMAGE)}
    for name, share in shares.items():
        if not 0 <= share < math.inf:
            raise ValueError(f"The weight {name!r} is {share}. Give a number from 0 up.")
    if not any(shares.values()):
        raise ValueError("Both weights are 0. Give one of them a positive number.")
    return shares


def about_image(image: Any, conditions: Sequence[Condition], min_score: float | None) -> Question:
    """Ask by a photo: a file, bytes or a Pillow image. Raises BadImage, TypeError."""
    data = image_bytes(image)
    images.check(io.BytesIO(data))

    def legs(engine: Engine) -> list[Leg]:
        encoder = engine.encoder
        pixels = shrunk(encoder, data)
        with embedding():
            vector = encoder.embed_images([pixels])[0]
        return [Leg(using=IMAGE, vector=vector)]

    return Question(legs=legs, using=(IMAGE,), conditions=conditions, min_score=checked_score(min_score))


def image_bytes(image: Any) -> bytes:
    """Return a photo as the bytes of a file. Raises BadImage; TypeError for paths, which are never opened."""
    if hasattr(image, "getbands"):
        return _written(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return images.read(io.BytesIO(image))
    was_closed = isinstance(image, File) and image.closed  # a field's file opens when it is looked at
    if not hasattr(image, "read"):
        raise TypeError(f"{type(image).__name__} is no image. Give a file, bytes or a Pillow image.")
    file: IO[bytes] = image
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)  # a form may have looked into it
    try:
        return images.read(file)
    finally:
        if was_closed:
            file.close()


def _written(picture: Any) -> bytes:
    """Return a Pillow image as a small PNG that keeps its transparency and which way is up."""
    buffer = io.BytesIO()
    try:
        exif = picture.getexif()
        small = picture.convert("RGBA")
        small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        small.save(buffer, "PNG", exif=exif)
    except (OSError, ValueError, SyntaxError) as error:  # it is read from its file only now
        raise BadImage(f"The image is truncated or corrupt ({error}). Upload it again.") from error
    return buffer.getvalue()


def about_product(
    document: Document, product: Any, conditions: Sequence[Condition], min_score: float | None
) -> Question:
    """Ask for what is like a product, by the vectors that are stored. Raises TypeError."""
    product_id = product_id_of(document, product)
    own = document.point_id(product_id) if product_id is not None else None

    def legs(engine: Engine) -> list[Leg] | None:
        point = engine.store.get(engine.collection.name, [own], vectors=True).get(own) if own else None
        vectors = point.vectors if point else {}
        found = [Leg(using=n, vector=_first_row(vectors[n])) for n in (IMAGE, TEXT) if n in vectors]
        return found or None

    return Question(
        legs=legs,
        embeds=False,
        conditions=conditions,
        without=(own,) if own else (),
        min_score=checked_score(min_score),
    )


def product_id_of(document: Document, product: Any) -> str | None:
    """Return the id of the point that stands for a row, or that is meant by an id; None where none does."""
    if product is None:
        raise TypeError("Give a product or its id, not None.")
    if not isinstance(product, Model):
        return str(product)
    stands_for = document.index_as(document.checked_row(product))
    if stands_for is None or stands_for.pk is None:
        return None
    return document.product_id(stands_for)


def checked_score(score: Any) -> float | None:
    """Return the lowest cosine that is wanted, None where any will do. Raises BadFilterValue."""
    if score is None:
        return None
    try:
        lowest = float(score)
    except (TypeError, ValueError):
        lowest = math.nan
    if not -1 <= lowest <= 1:
        raise BadFilterValue(f"min_score is {score!r:.99}. Give a cosine, from -1 to 1.")
    return lowest


def _first_row(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vector of the most important image."""
    return vector if vector.ndim == 1 else vector[0]
