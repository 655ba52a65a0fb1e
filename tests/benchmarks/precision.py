"""What speed costs: vectors of the chosen precision and of drafted JPEGs beside the exact ones."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from unittest.mock import patch

from django.conf import settings
from PIL import Image

from . import relevance
from .shop import Bench
from .table import Row


def rows(bench: Bench) -> Iterator[Row]:
    from clip_search.encoders import get_encoder

    encoder: Any = get_encoder()
    dtype = str(encoder._placement[1]).removeprefix("torch.")
    with demo(dtype) as chosen:
        found = measured(chosen)
    with demo("float32") as exact:
        yield likeness(f"texts in {dtype}, against float32", chosen.texts, exact.texts, 0.995)
        yield likeness(f"images in {dtype}, against float32", chosen.images, exact.images, 0.995)
        yield recall(dtype, found, measured(exact))
        yield drafted(bench.sizes.vectors)


@contextmanager
def demo(precision: str) -> Iterator[relevance.Bench]:
    """Return the relevance benchmark's products: of random weights, all vectors would be alike."""
    with tempfile.TemporaryDirectory() as folder, patch.object(settings, "CLIP_SEARCH", settings.CLIP_SEARCH):
        yield relevance.set_up(1, folder, precision)


def measured(bench: relevance.Bench) -> list[float]:
    """Return recall@10 by default and by image alone, each in English and in French."""
    places, found = relevance.collection(bench, "all"), []
    with bench.store.session("all"):
        for weights in ({"text": 1.0, "image": 1.0}, {"image": 1.0}):
            rank = relevance.engine(bench, "all", places, weights)
            found += [relevance.measure(bench, rank, language)[0] for language in bench.queries]
    return found


def drafted(count: int) -> Row:
    """Compare JPEGs, which are drafted, with the same pixels as PNG, which cannot be."""
    from clip_search.encoders import get_encoder
    from clip_search.images import shrink
    from tests.samples import heldout_drawings

    encoder: Any = get_encoder()
    found = []
    looks = list(product(heldout_drawings.ICONS, heldout_drawings.PALETTE))[:count]
    for number, (kind, colour) in enumerate(looks):
        drawn = (
            heldout_drawings.render(kind, colour, "plain", seed=number).convert("RGB").resize((1000, 1000))
        )
        data = saved(drawn, "JPEG", quality=85)
        whole = saved(Image.open(io.BytesIO(data)), "PNG", compress_level=1)
        found.append([shrink(file, encoder.image_size) for file in (data, whole)])
    jpegs, pngs = (encoder.embed_images(list(column)) for column in zip(*found, strict=True))
    return likeness("drafted JPEGs, against whole ones", jpegs, pngs, 0.99)


def saved(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def likeness(figure: str, found: Any, exact: Any, floor: float) -> Row:
    cosines = (found * exact).sum(axis=1)
    return Row(
        figure=f"{figure}: mean cosine",
        value=f"{cosines.mean():.5f}",
        baseline="1",
        ratio=float(cosines.mean()),
        floor=floor,
        note=f"Lowest {cosines.min():.4f} of {len(cosines)}.",
    )


def recall(dtype: str, found: list[float], exact: list[float]) -> Row:
    lost = max(abs(one - other) for one, other in zip(found, exact, strict=True))
    return Row(
        figure=f"the demo's recall@10 in {dtype}, against float32: points apart",
        value=", ".join(f"{value:.3f}" for value in found),
        baseline=", ".join(f"{value:.3f}" for value in exact),
        ratio=100 * lost,
        floor=1,
        at_most=True,
        note="Default ranking, then by image alone; in English, then in French.",
    )
