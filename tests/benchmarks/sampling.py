"""Takes samples of a figure while something else runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAMPLE_SECONDS = 1.0


@contextmanager
def sampled(sample: Callable[[], float | None], every: float = SAMPLE_SECONDS) -> Iterator[list[float]]:
    """Take samples in a thread while the block runs. None is left out."""
    found: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every):
            if (value := sample()) is not None:
                found.append(value)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
