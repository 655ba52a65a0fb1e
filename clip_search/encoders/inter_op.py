"""Computes several batches at the same time on a CPU, each with a part of torch's threads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Final, TypeVar

from ..cores import cores

Part = TypeVar("Part")
Result = TypeVar("Result")

THREADS: Final = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
"""Environment variables with which a shop may set the number of torch's threads."""
MAX_BATCHES: Final = 16
"""The most batches at the same time. The 128 products that are claimed at once make 16 batches of 8. An image
takes 2 MB for intermediate values."""


def share_cores(processes: int) -> None:
    """Limit torch to this process's share of the cores, for torch threads that start from now on.

    Do nothing if torch is not loaded, or if an environment variable in `THREADS` is set.
    """
    if "torch" not in sys.modules or not THREADS.isdisjoint(os.environ):
        return
    import torch

    torch.set_num_threads(max(1, cores() // processes))


def keep_to_cores() -> None:
    """Lower the number of torch's threads to that of the cores, which a container may limit.

    Do nothing if an environment variable in `THREADS` is set. By itself, torch has a thread for each core of
    the machine.
    """
    import torch

    if torch.get_num_threads() > cores():
        share_cores(1)


def _use_one_thread() -> None:
    """Make torch use a single thread in a process that was forked, as with `gunicorn --preload`.

    The threads of OpenMP do not survive a fork, and torch would wait for them for ever. With a single thread,
    torch does not use them.
    """
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)


class InterOpPool:
    """A pool of threads. Each computes batches of its own, with its part of torch's threads.

    On two cores, this is faster than computing each batch on both cores, because the threads that share a
    batch wait for each other in every layer. See "CPU threading and TorchScript inference" in torch's
    documentation.
    """

    def __init__(self) -> None:
        self._created_for = (0, 0)
        self._pool: ThreadPoolExecutor | None = None

    @property
    def count(self) -> int:
        """The number of batches that are computed at the same time."""
        return len(self._shares())

    def map(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Return [work(part) for part in parts], computed in the threads. Not thread-safe."""
        if self.count < 2 or len(parts) < self.count:  # all threads together at each part
            return [work(part) for part in parts]
        return list(self._started().map(work, parts))

    @staticmethod
    def _shares() -> list[int]:
        """Return how many of torch's threads each batch gets: one, or more if there are over `MAX_BATCHES`.

        A batch on two threads takes up to a tenth more of their time than on one. No thread is left over.
        """
        import torch

        threads = int(torch.get_num_threads())
        share = ceil(threads / MAX_BATCHES)
        return [share + (number < threads % share) for number in range(threads // share)]

    def _started(self) -> ThreadPoolExecutor:
        """Return the pool of threads.

        It is created again if the number of torch's threads has changed or this process was forked.
        """
        import torch

        threads, shares, process = torch.get_num_threads(), self._shares(), os.getpid()
        if self._pool is None or self._created_for != (threads, process):
            if self._pool is not None and self._created_for[1] == process:  # a fork ends all threads
                self._pool.shutdown()
            self._pool = None
            count = len(shares)
            ready = threading.Barrier(count + 1)

            def start() -> None:
                torch.get_num_threads()  # torch sets the number of a new thread at its first call
                torch.set_num_threads(shares.pop())
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
                torch.set_num_threads(threads)  # for other threads: the threads of the pool keep their number
            self._pool, self._created_for = pool, (threads, process)
        return self._pool
