"""What the demo says it is doing, and how long each step took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper

START_OVER = "\r\033[K"
"""Back to the start of a terminal's line, and what stood there is gone."""


class Steps:
    """Writes a line for each step; on a terminal already while it runs."""

    def __init__(self, out: OutputWrapper) -> None:
        self.out = out
        self.started = time.monotonic()
        self.done = 0

    @property
    def seconds(self) -> float:
        """How long it all has taken."""
        return time.monotonic() - self.started

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Write how the block ended, and after how long."""
        started = time.monotonic()
        if self.out.isatty():
            self._write(f"  …         {title}")
        try:
            yield
        except Exception:
            self._end("FAIL", started, title)
            raise
        self.done += 1
        self._end("ok", started, title)

    def _end(self, word: str, started: float, title: str) -> None:
        start = START_OVER if self.out.isatty() else ""
        self._write(f"{start}{word:<4}{time.monotonic() - started:6.1f} s  {title}\n")

    def _write(self, text: str) -> None:
        self.out.write(text, ending="")
        self.out.flush()
