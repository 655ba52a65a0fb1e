"""What speed costs: vectors of the chosen precision and of drafted JPEGs beside the exact ones."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from . import shop
from .shop import Bench
from .table import Row


def rows(bench: Bench) -> Iterator[Row]:
    from clip_search import images
    from clip_search.encoder import get_encoder

    encoder: Any = get_encoder()
    exact = with_precision("float32", bench)
    dtype = str(encoder._placement[1]).removeprefix("torch.")
    files = [shop.numbered(p, 0) for kind in ("square", "mixed") for p in shop.photos(shop.CACHE, kind)]
    pixels = [images.shrink(file, encoder.image_size) for file in files]
    texts = [". ".join(shop.text(number)) for number in range(bench.sizes.vectors)]
    yield likeness(
        f"texts in {dtype}, against float32", encoder.embed_texts(texts), exact.embed_texts(texts), 0.995
    )
    whole = exact.embed_images(pixels)
    yield likeness(f"images in {dtype}, against float32", encoder.embed_images(pixels), whole, 0.995)
    undrafted = exact.embed_images([shrunk_whole(file, encoder.image_size) for file in files])
    yield likeness("drafted JPEGs, against whole ones", whole, undrafted, 0.99)
    yield recall(dtype)


def with_precision(precision: str, bench: Bench) -> Any:
    from django.conf import settings

    from clip_search.encoder import ClipEncoder

    with patch.object(settings, "CLIP_SEARCH", settings.CLIP_SEARCH | {"PRECISION": precision}):
        return ClipEncoder()


def shrunk_whole(data: bytes, size: int) -> Any:
    """Return what `images.shrink` gives of the same picture when there is nothing to draft: of a PNG."""
    from PIL import Image

    from clip_search import images

    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "PNG", compress_level=1)
    with patch.object(images.conf.__class__, "max_image_bytes", 10**9):
        return images.shrink(buffer.getvalue(), size)


def likeness(figure: str, found: Any, exact: Any, floor: float) -> Row:
    cosines = (found * exact).sum(axis=1)
    return Row(
        figure=f"{figure}: mean cosine",
        value=f"{cosines.mean():.4f}",
        baseline="1",
        ratio=float(cosines.mean()),
        floor=floor,
        note=f"Lowest {cosines.min():.4f} of {len(cosines)}.",
    )


def recall(dtype: str) -> Row:
    """Compare the demo model's recall@10, by words and by picture, in both precisions."""
    found = {name: demo_recall(name) for name in dict.fromkeys((dtype, "float32"))}
    lost = max(abs(one - other) for one, other in zip(found[dtype], found["float32"], strict=True))
    return Row(
        figure=f"the demo's recall@10 in {dtype}, against float32: points apart",
        value=", ".join(f"{value:.3f}" for value in found[dtype]),
        baseline=", ".join(f"{value:.3f}" for value in found["float32"]),
        ratio=100 * lost,
        floor=1,
        at_most=True,
        note="Default ranking, then by image alone; English, then French.",
    )


def demo_recall(precision: str) -> list[float]:
    from . import relevance

    with tempfile.TemporaryDirectory() as folder:
        bench = relevance.set_up(1, folder, precision)
        places = relevance.collection(bench, "all")
        found = []
        with bench.store.held("all"):
            for weights in ({"text": 1.0, "image": 1.0}, {"image": 1.0}):
                rank = relevance.engine(bench, "all", places, weights)
                found += [relevance.measure(bench, rank, language)[0] for language in bench.queries]
        return found
