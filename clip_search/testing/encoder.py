"""An encoder for tests, which needs no CLIP model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (220, 30, 30),
    "orange": (255, 140, 0),
    "yellow": (250, 220, 30),
    "green": (30, 160, 60),
    "blue": (30, 80, 220),
    "purple": (130, 40, 180),
    "pink": (250, 130, 190),
    "brown": (120, 70, 30),
}


class HashingEncoder:
    """Embeds a text from the hashes of its words, and an image from the names of its colours.

    So a search for "red mug" finds texts with these words and images that are mostly red.
    """

    fingerprint = "hashing-encoder-1"
    dimension = 256
    image_size = 16
    batch_size = 32

    def warm_up(self, *, images: bool = True) -> None:
        """Do nothing, because there is no model to load."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector for each text: a float32 array of shape (n, 256)."""
        return self._stack(self._bag((word, 1.0) for word in re.findall(r"\w+", t.lower())) for t in texts)

    def embed_images(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """Return one unit vector for each image: a float32 array of shape (n, 256)."""
        return self._stack(self._bag(self._colours(image)) for image in images)

    def _colours(self, image: Any) -> Iterable[tuple[str, float]]:
        names, palette = list(COLOURS), np.array(list(COLOURS.values()), dtype=np.float32)
        pixels = np.asarray(image, dtype=np.float32).reshape(-1, 3)
        nearest = ((pixels[:, None, :] - palette) ** 2).sum(axis=2).argmin(axis=1)
        shares = np.bincount(nearest, minlength=len(names)) / len(pixels)
        yield from ((name, float(share)) for name, share in zip(names, shares, strict=True) if share)
        # a hash of the pixels: different images with the same colours get similar, not equal, vectors
        yield hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest(), 0.05

    def _bag(self, words: Iterable[tuple[str, float]]) -> NDArray[np.float32]:
        vector = np.zeros(self.dimension, dtype=np.float32)
        for word, weight in words:
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            slot = int.from_bytes(digest[:4], "big") % (self.dimension - 1)
            vector[slot + 1] += weight if digest[4] % 2 else -weight
        vector[0] = 0.01  # so that an empty text has no zero vector
        return vector / np.float32(np.linalg.norm(vector))

    def _stack(self, rows: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
        found = list(rows)
        return np.stack(found) if found else np.zeros((0, self.dimension), dtype=np.float32)
