"""The catalogue's pictures as files, drawn by all cores.

No Django here: the drawing processes import this module and nothing of the shop.
"""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from demo_model_training.rendering import render

from .catalogue import CatalogueProduct

SIZE = 512


def jpeg(product: CatalogueProduct) -> bytes:
    """Return the product's picture as a JPEG file."""
    picture = render(product.kind, product.colour, product.pattern, size=SIZE, seed=product.image_seed)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88, optimize=True)
    return file.getvalue()


def draw(products: Sequence[CatalogueProduct]) -> Iterator[bytes]:
    """Yield the products' pictures, in their order."""
    # Spawned, not forked: this may run where threads do.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(jpeg, products, chunksize=8)
