"""How a process shares the cores of its machine, and how torch uses those that it has."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

THREADS: Final = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
"""Where the host says how many threads torch is to use."""
MOST_LANES: Final = 4
"""Batches at once: each holds the intermediate values of one, 60 MB of 32 images."""

_spare = threading.Event()  # set unless lanes have every core


def _all_spare() -> None:
    """Begin anew: no lane survives a fork, and a thread that does not may have held the event's lock."""
    global _spare
    _spare = threading.Event()
    _spare.set()


_all_spare()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_spare)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(processes: int) -> None:
    """Have torch, where it is loaded, use this process's part of the cores; the environment wins.

    Threads that run already keep their number: what counts is how many torch starts from now on.
    """
    if "torch" not in sys.modules or not THREADS.isdisjoint(os.environ):
        return
    import torch

    torch.set_num_threads(max(1, cores() // processes))


def wait_for_a_core() -> None:
    """Wait until lanes leave this process a core: beside one another, both take longer."""
    _spare.wait()


class Lanes:
    """Threads that each compute a batch of their own, each with its part of torch's threads.

    Two cores take less time for two batches, one each, than for one after the other together: the parts of a
    batch wait for one another at every layer (docs/performance.rst). torch's documentation calls it
    inter-op and intra-op parallelism ("CPU threading and TorchScript inference").
    """

    def __init__(self) -> None:
        self._made_for = (0, 0)
        self._pool: ThreadPoolExecutor | None = None

    @property
    def count(self) -> int:
        """How many there are for this process's part of the cores, so that none is left over."""
        import torch

        threads = int(torch.get_num_threads())
        return max(lanes for lanes in range(1, MOST_LANES + 1) if threads % lanes == 0)

    def map(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Return the results of all parts, in their order. For one caller at a time."""
        if self.count < 2 or len(parts) < self.count:
            return [work(part) for part in parts]
        try:
            if self._fill_cores:
                _spare.clear()
            return list(self._started().map(work, parts))
        finally:
            _spare.set()

    @property
    def _fill_cores(self) -> bool:
        """Say whether each core has a lane: threads of a wider one wait for one another, and leave some."""
        return self.count == cores()

    def _started(self) -> ThreadPoolExecutor:
        import torch

        threads, count, process = torch.get_num_threads(), self.count, os.getpid()
        if self._pool is None or self._made_for != (threads, process):
            if self._pool is not None and self._made_for[1] == process:  # no thread survives a fork
                self._pool.shutdown()
            self._pool = None
            ready = threading.Barrier(count + 1)

            def start() -> None:
                torch.set_num_threads(threads // count)
                torch.get_num_threads()  # a thread takes its number at the first call, and this one now
                ready.wait()

            pool = ThreadPoolExecutor(count, "clip_search-lane", start)
            try:
                for _ in range(count):
                    pool.submit(int)
                ready.wait()
            except BaseException:
                ready.abort()
                raise
            finally:
                torch.set_num_threads(threads)  # the lanes keep theirs; this is for threads that start later
            self._pool, self._made_for = pool, (threads, process)
        return self._pool
