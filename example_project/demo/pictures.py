"""Draw the pictures of the catalogue's products as JPEG files, in several processes."""

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
    """Yield the pictures of the products, in their order."""
    # Spawned, because forking is not safe in a process that has threads. The new processes import only this
    # module, without Django.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(jpeg, products, chunksize=8)
