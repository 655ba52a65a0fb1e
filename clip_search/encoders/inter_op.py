"""Several batches at once on a CPU: torch's inter-op parallelism."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from ..cores import cores

Part = TypeVar("Part")
Result = TypeVar("Result")

THREADS: Final = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
"""Environment variables by which the host sets the number of torch's threads."""
MAX_BATCHES: Final = 4
"""Batches at once. The intermediate values of a batch of 32 images take 60 MB."""


def share_cores(processes: int) -> None:
    """Limit torch, if it is loaded, to this process's share of the cores; the environment takes precedence.

    Threads that run already keep their number; it applies to those that torch starts from now on.
    """
    if "torch" not in sys.modules or not THREADS.isdisjoint(os.environ):
        return
    import torch

    torch.set_num_threads(max(1, cores() // processes))


def _use_one_thread() -> None:
    """Keep torch usable in a process that was forked from this one, as by `gunicorn --preload`.

    OpenMP's threads do not survive a fork, and torch would wait for them for ever. With one thread it has
    none.
    """
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)


class InterOpPool:
    """Threads that each compute a batch of their own, each with its part of torch's threads.

    Two cores take less time for two batches, one each, than for one after the other together, because the
    parts of one batch wait for each other in every layer. See "CPU threading and TorchScript inference" in
    torch's documentation.
    """

    def __init__(self) -> None:
        self._created_for = (0, 0)
        self._pool: ThreadPoolExecutor | None = None

    @property
    def count(self) -> int:
        """The number of batches at once: a divisor of torch's threads, so that no thread is left over."""
        import torch

        threads = int(torch.get_num_threads())
        return max(count for count in range(1, MAX_BATCHES + 1) if threads % count == 0)

    def map(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Return the results for all parts, in their order. For one caller at a time."""
        if self.count < 2 or len(parts) < self.count:
            return [work(part) for part in parts]
        return list(self._started().map(work, parts))

    def _started(self) -> ThreadPoolExecutor:
        """Return the pool, created again if torch's threads have changed or this process was forked."""
        import torch

        threads, count, process = torch.get_num_threads(), self.count, os.getpid()
        if self._pool is None or self._created_for != (threads, process):
            if self._pool is not None and self._created_for[1] == process:  # no thread survives a fork
                self._pool.shutdown()
            self._pool = None
            ready = threading.Barrier(count + 1)

            def start() -> None:
                torch.set_num_threads(threads // count)
                torch.get_num_threads()  # a thread takes over the number at its first call
                ready.wait()

            pool = ThreadPoolExecutor(count, "clip_search-inter-op", start)
            try:
                for _ in range(count):
                    pool.submit(int)
                ready.wait()
            except BaseException:
                ready.abort()
                raise
            finally:
                torch.set_num_threads(threads)  # for threads that start later; the pool's keep theirs
            self._pool, self._created_for = pool, (threads, process)
        return self._pool
