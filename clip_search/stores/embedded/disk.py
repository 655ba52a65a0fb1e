"""Checks the free disk space of an embedded store.

The engine maps its files into memory. If the disk is full, writing to this memory kills the process with
SIGBUS. So the free space is checked before a collection is opened and before data is written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ...exceptions import StoreFull
from ...types import Point

MIN_FREE_BYTES: Final = 128 * 1024 * 1024
"""Free space that is always needed: one write may add three files of 32 MiB each."""
WRITERS: Final = 2
"""How many collections may grow at the same time: each worker may write to another one."""
COPIES: Final = 3
"""How many times the engine writes each batch: twice to its log, and once to its final place."""
BYTES_A_TERM: Final = 64
"""Roughly what a term takes, in the payload, in its index and in the sparse vector."""


class Disk:
    """The disk that holds a folder. At least `min_free_bytes` of it must stay free."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def check_space(self, writing: int | None = None) -> None:
        """Raise StoreFull if the disk is too full to open a collection, or to write `writing` bytes."""
        if not self._folder.is_dir():
            return
        growth = 0 if writing is None else (WRITERS - 1) * self._min_free_bytes + COPIES * writing
        free, needed = shutil.disk_usage(self._folder).free, self._min_free_bytes + growth
        if free < needed:
            raise StoreFull(
                f"The disk of the embedded store has only {free} bytes free, but needs {needed}. "
                "Free some space; work then resumes by itself."
            )


def size(points: Sequence[Point]) -> int:
    """Return roughly how many bytes these points take on the disk."""
    total = 0
    for point in points:
        payload = json.dumps(point.payload, default=str, ensure_ascii=False)
        total += len(payload.encode()) + sum(vector.nbytes for vector in point.vectors.values())
        total += BYTES_A_TERM * len(point.words.terms)
    return total
