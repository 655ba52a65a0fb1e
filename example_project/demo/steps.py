"""The progress report of the demo: one line for each step, with the time that it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper

CLEAR_LINE = "\r\033[K"
"""Terminal codes: move to the start of the line and clear it."""


class Steps:
    """Writes a line when a step ends. On a terminal, the line appears when the step begins."""

    def __init__(self, out: OutputWrapper) -> None:
        self.out = out
        self.started = time.monotonic()
        self.done = 0

    @property
    def seconds(self) -> float:
        """Return the seconds since this object was created."""
        return time.monotonic() - self.started

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Write whether the block succeeded, and how long it took."""
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

    def _end(self, result: str, started: float, title: str) -> None:
        start = CLEAR_LINE if self.out.isatty() else ""
        self._write(f"{start}{result:<4}{time.monotonic() - started:6.1f} s  {title}\n")

    def _write(self, text: str) -> None:
        self.out.write(text, ending="")
        self.out.flush()
