"""What a shop could do today without this package. Where they leave something out, it is to their advantage.

(a) the old way: for each product one `encode` of its photo and one of its text, and one upsert (the request
    that it took is left out);
(b) `SentenceTransformer.encode` of opened photos and of texts in batches, then one upsert a batch;
(c) the model alone; (d) the limit that matrix products set;
(e) for text: one `encode` and one upsert a save, as django-semantic-search 0.2.1 does.

All but (c) and (d) run in float32, as sentence-transformers does unless told otherwise, and hold the store
open.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from .table import seconds

BATCH = 32
FLOPS_AN_IMAGE = 8.82e9
"""Of ViT-B/32: twice its multiplications."""


class Loop:
    """A plain loop over sentence-transformers."""

    def __init__(self, model: Path, folder: Path, device: str) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        from clip_search.stores.base import Schema
        from clip_search.stores.embedded.store import EmbeddedStore

        where = None if device == "auto" else device
        options: Any = {"model_kwargs": {"dtype": torch.float32}}
        self.model = SentenceTransformer(str(model), device=where, **options)
        self.store = EmbeddedStore(folder)
        self.store.create("loop", Schema(dimension=512))

    def images(self, files: Sequence[bytes], batch: int = BATCH) -> Any:
        """Return the vectors of photos, opened as its documentation opens them."""
        from PIL import Image

        opened = [Image.open(io.BytesIO(file)) for file in files]
        return self._encode(opened, batch)

    def texts(self, texts: Sequence[str], batch: int = BATCH) -> Any:
        return self._encode([{"text": text} for text in texts], batch)

    def _encode(self, inputs: Sequence[Any], batch: int) -> Any:
        options: Any = {"batch_size": batch, "show_progress_bar": False, "normalize_embeddings": True}
        return self.model.encode(list(inputs), **options)

    def upsert(self, **vectors: Any) -> None:
        """Write one point for each row of the vectors."""
        from clip_search.types import Point, Stamp

        rows = [dict(zip(vectors, row, strict=True)) for row in zip(*vectors.values(), strict=True)]
        points = [Point(id=uuid.uuid4(), stamp=Stamp(product_id="", revision=1), vectors=row) for row in rows]
        self.store.put("loop", points)

    def in_batches(self, texts: Sequence[str], paths: Sequence[Path] = ()) -> None:
        """Baseline (b); without `paths`, of texts alone."""
        with self.store.session("loop"):
            for start in range(0, len(texts), BATCH):
                vectors = {"text": self.texts(texts[start : start + BATCH])}
                if paths:
                    files = [path.read_bytes() for path in paths[start : start + BATCH]]
                    vectors["image"] = self.images(files)
                self.upsert(**vectors)

    def one_by_one(self, texts: Sequence[str], paths: Sequence[Path] = ()) -> None:
        """Baseline (a); without `paths`, baseline (e)."""
        with self.store.session("loop"):
            for number, text in enumerate(texts):
                vectors = {"text": self.texts([text], 1)}
                if paths:
                    vectors["image"] = self.images([paths[number].read_bytes()], 1)
                self.upsert(**vectors)


@cache
def loop(model: Path, folder: Path, device: str) -> Loop:
    """Return the loop of this run, its model loaded and warm."""
    found = Loop(model, folder, device)
    found.texts(["warm up"])
    return found


def matrix_products(device: Any, dtype: Any) -> float:
    """Return the operations a second of a matrix product of the model's own shape: baseline (d)."""
    import torch

    with torch.inference_mode():
        left = torch.randn(1600, 768).to(device, dtype)
        right = torch.randn(3072, 768).to(device, dtype)

        def multiply() -> None:
            torch.nn.functional.linear(left, right)
            if device.type == "cuda":
                torch.cuda.synchronize()

        multiply()
        return 2 * 1600 * 768 * 3072 / median(seconds(multiply) for _ in range(15))
