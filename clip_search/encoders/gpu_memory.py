"""Halves batches that do not fit into the memory of a GPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..exceptions import BackendUnavailable, in_one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

FULL: Final = ("out of memory", "ALLOC_FAILED")
"""Parts of the messages of torch, and of CUDA's libraries, if the memory of a GPU does not suffice."""
REMEDY: Final = "Stop other processes that use this GPU, or set DEVICE to another one or to 'cpu'."


def is_out_of_memory(error: Exception) -> bool:
    """Return whether torch raised the error because the memory of a GPU does not suffice.

    torch.OutOfMemoryError is a RuntimeError. Other errors for the same reason are a plain RuntimeError.
    """
    return isinstance(error, RuntimeError) and any(part in str(error) for part in FULL)


class BatchLimit:
    """The most texts or images in a batch. It is halved when a batch does not fit into the GPU's memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._logged = size
        self._lock = threading.Lock()

    def embed(self, embed: Callable[[Any], NDArray[np.float32]], inputs: Any) -> NDArray[np.float32]:
        """Return `embed(inputs)`, computed in as many parts as the memory requires.

        Raises BackendUnavailable if a single input does not fit.
        """
        import numpy as np

        found: list[NDArray[np.float32]] = []
        start = 0
        while start < len(inputs):
            part = inputs[start : start + self.size]
            try:
                found.append(embed(part))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = in_one_line(error)
            else:
                start += len(part)
                continue
            # After the `except` clause, because the error's traceback refers to the tensors of the batch.
            self._halve(len(part), reason)
        self._log_if_lower()
        return np.concatenate(found)

    def _halve(self, count: int, reason: str) -> None:
        """Lower the limit, because a batch of `count` inputs did not fit. Return unused memory to the GPU.

        Raises BackendUnavailable if `count` is 1.
        """
        import torch

        torch.cuda.empty_cache()
        if count == 1:
            raise BackendUnavailable(
                f"The memory of the GPU is too full for one text or image: {reason.rstrip('.')}. {REMEDY}"
            )
        with self._lock:
            self.size = min(self.size, count // 2)

    def _log_if_lower(self) -> None:
        """Log a warning if the limit is lower than in the last one."""
        with self._lock:
            if self.size < self._logged:
                logger.warning(
                    "A batch did not fit into the memory of the GPU, so batches are smaller until this "
                    "process ends. To avoid this, set BATCH_SIZE to the new size size=%d before=%d",
                    self.size,
                    self._logged,
                )
                self._logged = self.size
