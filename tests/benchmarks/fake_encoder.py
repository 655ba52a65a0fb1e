"""An encoder that costs nothing: with it, a benchmark measures everything but the CLIP model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


ENCODER = f"{__name__}.FakeEncoder"


class FakeEncoder:
    """Takes some microseconds for a text or an image. Its vectors depend on the content and mean nothing.

    They have the size that those of a ViT-B/32 have.
    """

    fingerprint = "fake-encoder-1"
    dimension = 512
    image_size = 224
    batch_size = 128  # as on CUDA

    def warm_up(self, *, images: bool = True) -> None:
        """Do nothing, because there is no model to load."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector for each text: bytes of a hash."""
        return self._unit([hashlib.shake_128(text.encode()).digest(self.dimension) for text in texts])

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return one unit vector for each image: every 294th of its bytes."""
        return self._unit([image.ravel()[:: image.size // self.dimension].tobytes() for image in images])

    def _unit(self, rows: Sequence[Any]) -> NDArray[np.float32]:
        flat = np.frombuffer(b"".join(rows), np.uint8)
        vectors = flat.reshape(len(rows), self.dimension).astype(np.float32) + np.float32(1)  # never zero
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors
