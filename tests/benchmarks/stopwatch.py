"""Measures how long the cores work for each stage of a run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from pkgutil import resolve_name
from time import perf_counter, thread_time
from typing import Any
from unittest.mock import patch


class Stopwatch:
    """Measures the core-seconds of each stage in all threads."""

    def __init__(self, stages: Mapping[str, Sequence[str]]) -> None:
        """Set up a stopwatch for stages with their functions, written as in "package.module:Class.method"."""
        self.stages = stages
        self.spent: Counter[str] = Counter()
        self.waited = 0.0
        """Seconds of waiting for the lock of the embedded store."""
        self._lock = threading.Lock()
        self._inner = threading.local()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure while the block runs."""
        with ExitStack() as stack:
            for stage, names in self.stages.items():
                for name in names:
                    owner, _, attribute = name.replace(":", ".").rpartition(".")
                    timed = self.timed(stage, resolve_name(name))
                    stack.enter_context(patch.object(resolve_name(owner), attribute, timed))
            from clip_search.stores.embedded.sharing import SharedHandle

            lock = self.timed_wait(SharedHandle._lock_file)
            stack.enter_context(patch.object(SharedHandle, "_lock_file", lock))
            yield

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, which counts its core-seconds without those of the timed functions in it."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(self._inner, "seconds", 0.0)
            self._inner.seconds = 0.0
            started = thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                took = thread_time() - started
                with self._lock:
                    self.spent[stage] += took - self._inner.seconds
                self._inner.seconds = outer + took

        return timed

    def timed_wait(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, which adds the seconds that it takes to `waited`."""

        @wraps(function)
        def timed(*args: Any) -> Any:
            started = perf_counter()
            try:
                return function(*args)
            finally:
                self.waited += perf_counter() - started

        return timed
