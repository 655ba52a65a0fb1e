"""The number of CPU cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows the control groups, with which containers and systemd limit what a process may use."""
OWN_CGROUPS = Path("/proc/self/cgroup")


def cores() -> int:
    """Return the number of CPU cores that this process may use, which may be fewer than the machine has.

    A limit in fractions of cores, such as Docker's `--cpus 1.5`, is rounded up.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(max(1, min(count, _limit(CGROUPS, OWN_CGROUPS))))


@lru_cache(maxsize=16)
def _limit(cgroups: Path, own_cgroups: Path) -> float:
    """Return the lowest limit, rounded up. It is read once: each RQ job and each inline save asks for it."""
    return min(map(math.ceil, _limits(cgroups, own_cgroups)), default=math.inf)


def _limits(cgroups: Path, own_cgroups: Path) -> Iterator[float]:
    """Yield the cores that each control group of this process may use, its parents included, if limited."""
    try:
        lines = own_cgroups.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        match line.split(":", 2):
            case [_, "", path]:  # version 2
                root, names = cgroups, ["cpu.max"]
            case [_, controllers, path] if "cpu" in controllers.split(","):
                root, names = cgroups / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            case _:
                continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                try:
                    quota, period = " ".join((folder / name).read_text() for name in names).split()
                    if float(quota) > 0:
                        yield float(quota) / float(period)
                except (OSError, ValueError):  # no file, or "max": no limit
                    continue
