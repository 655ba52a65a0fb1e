"""`Encoder`: the interface of all encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXT_LIMIT: Final = 10_000
"""The most characters of a text that are read: models use 77 to 128 tokens, and a novel takes seconds."""
SMALLEST_BATCH: Final = 8
"""The fewest texts or images in a batch: in smaller batches, a model takes longer for each. On one thread, a
ViT-B/32 takes as long for each of 8 as of 32, and 5 % (images) to 17 % (texts) longer for each of 4."""


class Encoder(Protocol):
    """The interface of an encoder. For a simple example, see `clip_search.testing.HashingEncoder`.

    The class is called without arguments, and reads its settings from `clip_search.conf.conf`. Creating an
    encoder must be fast: the model is loaded at first use. Every method may be called from any thread, and
    may raise ModelUnavailable, or BackendUnavailable if trying again later helps.

    An encoder may also have a method `truncated(texts)`. It returns one bool for each text: whether the text
    is longer than the model reads. It is called after `embed_texts()`, with the same texts.

    It may also have a method `knows(word)`, which returns whether the model knows the word as a whole. The
    spelling of such a word is not corrected, even if no product has it.
    """

    @property
    def fingerprint(self) -> str:
        """Return a string that is different for each model, without loading the model.

        Vectors with different fingerprints are never compared.
        """

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""

    @property
    def image_size(self) -> int:
        """Return the side length, in pixels, of the square images that `embed_images()` accepts."""

    @property
    def batch_size(self) -> int:
        """Return the best number of images for one call of `embed_images()`."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector for each text: a float32 array of shape (n, dimension)."""

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return one unit vector for each image: a float32 array of shape (n, dimension).

        Each image is a uint8 array of shape (image_size, image_size, 3).
        """

    def warm_up(self, *, images: bool = True) -> None:
        """Load the model now instead of at first use. With `images=False`, load only what texts need."""
