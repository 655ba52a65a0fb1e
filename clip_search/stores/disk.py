"""The disk under an embedded store: whether it has space, and what has reached it.

The engine maps its files into memory, where a full disk kills the process: so space is looked at before a
collection is opened, and before it grows.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..exceptions import StoreFull
from ..types import Point

MIN_FREE_BYTES: Final = 128 * 1024 * 1024
"""A batch may add three files of 32 MiB at once: vectors of texts, of images, and where a product's begin."""
WRITERS: Final = 2
"""How many collections may grow at the same time, each by its own worker."""
COPIES: Final = 3
"""Times its own size that a batch takes: in the log, in the log's next file, and in its place."""

SYNCS_MAPS: Final = sys.platform.startswith("linux")
"""Whether `fsync` brings to the disk what was written through a memory map. POSIX does not promise it."""


class Disk:
    """The disk that a folder lies on, of which some bytes always stay free."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def check_space(self, writing: int | None = None) -> None:
        """Raise StoreFull where there is too little to open a collection, or to write so many bytes."""
        if not self._folder.is_dir():
            return
        growth = 0 if writing is None else (WRITERS - 1) * self._min_free_bytes + COPIES * writing
        free, needed = shutil.disk_usage(self._folder).free, self._min_free_bytes + growth
        if free < needed:
            raise StoreFull(
                f"The disk of the embedded store has {free} bytes free, and needs {needed}. "
                "Free some space; work then resumes by itself."
            )


def sync(folder: Path) -> None:
    """Wait until the files of a folder are on the disk; other threads go on meanwhile. Raises OSError."""
    for path in (*folder.iterdir(), folder):
        with suppress(FileNotFoundError):  # the engine makes the log's next file under another name
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def size(points: Sequence[Point]) -> int:
    """Return the bytes that points take, about."""
    return sum(map(_size, points))


def _size(point: Point) -> int:
    payload = json.dumps(point.payload, default=str, ensure_ascii=False)
    return len(payload.encode()) + sum(vector.nbytes for vector in point.vectors.values())
