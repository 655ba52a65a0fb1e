"""One table: a row a figure, with its baseline from the same run, their ratio and the floor of it."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `floor` is what the ratio must reach, or not exceed with `at_most`."""

    figure: str
    value: str
    baseline: str = ""
    ratio: float | None = None
    floor: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.floor is None or self.ratio is None:
            return ""
        return (
            "holds" if (self.ratio <= self.floor if self.at_most else self.ratio >= self.floor) else "FAILS"
        )

    @property
    def asked(self) -> str:
        return "" if self.floor is None else f"{'≤' if self.at_most else '≥'} {self.floor:g}"

    @property
    def rounded(self) -> str:
        """Return the ratio in three digits, in five where three are those of its floor."""
        if self.ratio is None:
            return ""
        if self.ratio >= 1000:
            return f"{self.ratio:,.0f}"
        rounded = f"{self.ratio:.3g}"
        return f"{self.ratio:.5g}" if self.floor is not None and rounded == f"{self.floor:g}" else rounded

    @property
    def cells(self) -> list[str]:
        return [self.figure, self.value, self.baseline, self.rounded, self.asked, self.verdict]


HEADINGS = ["figure", "measured", "baseline", "ratio", "floor", ""]


def show(rows: Sequence[Row]) -> str:
    """Return the rows as a table, each note below its row."""
    cells = [HEADINGS, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    found = [lines[0].rstrip(), "  ".join("-" * width for width in widths)]
    for row, line in zip(rows, lines[1:], strict=True):
        found += [
            line.rstrip(),
            *textwrap.wrap(row.note, 100, initial_indent="    ", subsequent_indent="    "),
        ]
    return "\n".join(found)


def as_json(rows: Sequence[Row]) -> str:
    """Return the machine and the rows as JSON."""
    return json.dumps(
        {"machine": machine(), "rows": [asdict(r) | {"verdict": r.verdict} for r in rows]}, indent=1
    )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags() -> set[str]:
    """Return what the CPU says of itself, where the system tells."""
    info = Path("/proc/cpuinfo")
    return set(info.read_text().split()) if info.exists() else set()


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    from importlib.metadata import version

    flags = sorted({"amx_bf16", "avx512_bf16", "avx512f", "avx2"} & cpu_flags())
    packages = ["torch", "sentence-transformers", "transformers", "pillow", "qdrant-edge-py", "django"]
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "flags": flags,
        "load": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


# Timing.


def seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def seconds_alone(work: Callable[[], object]) -> float:
    """Return what a work that fills every core would have taken on an idle machine.

    If the work leaves cores idle and other processes use them, the result is too low.
    """
    with core_seconds() as spent:
        work()
    return spent[1] / cores()


def in_turn(
    rounds: int,
    *works: Callable[[], object],
    timed: Callable[[Callable[[], object]], float] = seconds,
    before: Callable[[], object] = lambda: None,
) -> list[list[float]]:
    """Time works in turn, so that what else the machine does meets all alike. Returns seconds by work.

    What is to be done `before` each of them is not timed.
    """
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for spent, work in zip(times, works, strict=True):
            before()
            spent.append(timed(work))
    return times


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the median of the ratios of the two values of each round."""
    return median(one / other for one, other in zip(over, under, strict=True))


@contextmanager
def core_seconds() -> Iterator[list[float]]:
    """Measure the core-seconds that the block used, and those that it could have used.

    The latter are its own and those that were idle. On a machine that others use too, they are fewer than
    seconds × cores.
    """
    found: list[float] = []
    busy, idle, started = process_time(), _idle(), perf_counter()
    yield found
    used, spent = process_time() - busy, perf_counter() - started
    free = _idle() - idle
    found += [used, used + free if free >= 0 else spent * cores()]


def _idle() -> float:
    """Return for how many core-seconds this machine has had nothing to do, or minus infinity for unknown."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return -math.inf
    fields = stat.read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(part * (len(ordered) - 1)))]


def say(message: str) -> None:
    """Print the progress to standard error: only the table goes to standard output."""
    print(message, file=sys.stderr, flush=True)


def report(rows: Sequence[Row], seconds: float, *, is_json: bool) -> int:
    """Print the rows as a table or as JSON. Return the exit status: 1 if a floor is missed."""
    if is_json:
        print(as_json(rows))
    else:
        print(f"{'  '.join(f'{key}: {value}' for key, value in machine().items())}\n\n{show(rows)}")
        print(f"\nin {seconds:.0f} s")
    return 1 if any(row.verdict == "FAILS" for row in rows) else 0
