"""What the package asks of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXT_LIMIT: Final = 10_000
"""Characters of a text that are read: models use 77 to 128 tokens, and tokenizing a novel takes seconds."""
SMALLEST_BATCH: Final = 16
"""Texts or images in a batch: with fewer, a model takes longer for each."""


class Encoder(Protocol):
    """What the package asks of an encoder; `clip_search.testing.HashingEncoder` is one without a model.

    An instance is created without arguments, reads its settings from `clip_search.conf.conf`, and is cheap
    until it is first used. Every method may be called from any thread. It may raise ModelUnavailable, or
    BackendUnavailable if trying again helps.
    """

    @property
    def fingerprint(self) -> str:
        """Return a string that identifies the space of the vectors, without loading the model."""

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""

    @property
    def image_size(self) -> int:
        """Return the side, in pixels, of the square images that `embed_images()` takes."""

    @property
    def batch_size(self) -> int:
        """Return how many images are best passed to one call."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), rows of unit length."""

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return float32 (n, dimension), rows of unit length, of uint8 (image_size, image_size, 3) images."""

    def warm_up(self, *, images: bool = True) -> None:
        """Load the model now rather than at first use; without `images`, only what texts need."""
