"""`clip_reindex` against a torch DataLoader, in turn."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from ..sampling import sampled
from ..table import Row, cores, ratio, say
from .card import gpu_use
from .run import Run, check_all_indexed, reindex, stocked

FLOOR = 1.3
AIM = 2000
"""Products a second that are aimed at on 16 cores and an H200."""


def chosen_processes(given: Sequence[str]) -> list[str]:
    """Return what `--processes` gets, in turn; each number once."""
    from clip_search import parallel

    return list(dict.fromkeys(str(parallel.best_count()) if one == "auto" else one for one in given))


def loop(run: Run) -> Iterator[Row]:
    """Compare `clip_reindex` with the DataLoader loop over the same files, in turn."""
    from clip_search.encoders import get_encoder

    started = time.monotonic()
    stocked(run.products)
    yield Row(
        figure=f"{run.products:,} products and photos made", value=f"{time.monotonic() - started:.1f} s"
    )
    get_encoder().warm_up()
    plain: list[Took] = []
    ours: dict[str, list[Took]] = {processes: [] for processes in run.processes}
    with data_loader(run) as embed:
        for _ in range(run.rounds):
            began = time.monotonic()
            plain.append(told("DataLoader", run, embed()))
            for processes, found in ours.items():
                found.append(told(f"--processes {processes}", run, reindexed(run, processes)))
            now = time.monotonic()
            if now - run.started + now - began > 0.75 * run.seconds:
                break  # the other parts need the rest
    for processes, found in ours.items():
        yield against_the_loop(run, processes, plain, found)


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one run over all products took."""

    seconds: float
    """Without the start of processes."""
    whole: float
    core_seconds: float
    busy: Sequence[float]
    """Samples of how busy the GPU was, in per cent."""


def told(name: str, run: Run, took: Took) -> Took:
    say(f"      {name}: {run.products / took.seconds:.0f}/s. {used([took])}")
    return took


def used(runs: Sequence[Took]) -> str:
    """Return a sentence with the share of the cores and of the GPU that runs used."""
    busy_cores = median(one.core_seconds / one.whole for one in runs)
    samples = [sample for one in runs for sample in one.busy]
    gpu = f", the GPU for {fmean(samples):.0f} % of the time" if samples else ""
    return f"{busy_cores:.1f} of {cores()} cores used{gpu}; {median(one.whole for one in runs):.1f} s in all."


def against_the_loop(run: Run, processes: str, plain: Sequence[Took], ours: Sequence[Took]) -> Row:
    return Row(
        figure=f"clip_reindex --processes {processes}, against a DataLoader with {cores()} workers",
        value=f"{run.products / median(one.seconds for one in ours):.0f}/s",
        baseline=f"{run.products / median(one.seconds for one in plain):.0f}/s",
        ratio=ratio([one.seconds for one in plain], [one.seconds for one in ours]),
        floor=FLOOR if run.on_gpu and processes == run.processes[-1] else None,
        note=f"{used(ours)} The DataLoader embeds images only, and stores nothing: {used(plain)} "
        f"Rounds: {len(ours)}. The aim is {AIM:,} a second.",
    )


@contextmanager
def data_loader(run: Run) -> Iterator[Callable[[], Took]]:
    """Yield a function that embeds the photos with the DataLoader loop, whose model is loaded and warm."""
    from ..bulk import contents

    listing = run.bench.folder / "photos.txt"
    listing.write_text("\n".join(map(str, contents()[1])))
    words = ("-m", "tests.benchmarks.gpu.data_loader", str(run.bench.model), str(listing), run.device)
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child: Any = run.bench.start("main", *words, **pipes)

    def answer() -> str:
        line = str(child.stdout.readline())
        assert line, f"the DataLoader loop ended with status {child.wait()}: see its message above"
        return line

    def embed() -> Took:
        with sampled(lambda: gpu_use(run.device)) as busy:
            child.stdin.write("go\n")
            child.stdin.flush()
            found = json.loads(answer())
        return Took(whole=found["seconds"], busy=busy, **found)

    with child:
        try:
            assert answer() == "ready\n"
            yield embed
        finally:
            child.kill()


def reindexed(run: Run, processes: str) -> Took:
    """Run `clip_reindex` over the products, of which nothing is indexed.

    With several processes, the indexing is timed from a quarter of the products on, when each has started and
    loaded the model.
    """
    from ..bulk import nothing_indexed

    nothing_indexed()
    spent, started = sum(os.times()[:4]), time.monotonic()
    with ExitStack() as stack:
        busy = stack.enter_context(sampled(lambda: gpu_use(run.device)))
        if processes == "1":
            reindex()
            excluded = 0.0
        else:
            seen = stack.enter_context(progress())
            reindex(processes=processes)
            excluded = seconds_of_start(seen, run.products, time.monotonic())
    whole, spent = time.monotonic() - started, sum(os.times()[:4]) - spent
    check_all_indexed(run.products)
    return Took(seconds=whole - excluded, whole=whole, core_seconds=spent, busy=busy)


@contextmanager
def progress() -> Iterator[list[tuple[float, int, int]]]:
    """While the block runs, note the time, and how many products are pending or indexed, and indexed."""
    from django.db import connection

    from clip_search.models import IndexEntry

    found: list[tuple[float, int, int]] = []

    def look() -> None:
        done = IndexEntry.objects.filter(state=IndexEntry.State.INDEXED).count()
        found.append((time.monotonic(), IndexEntry.objects.count(), done))
        connection.close()  # each thread has its own

    with sampled(look, every=0.1):
        yield found


def seconds_of_start(seen: Sequence[tuple[float, int, int]], products: int, until: float) -> float:
    """Return how much longer indexing took than at its speed from a quarter of the products on.

    It took until all products were indexed, or if this was not seen, until the command ended.
    """
    compared = next((at for at, total, _ in seen if total == products), None)
    quarter = next(((at, done) for at, _, done in seen if products / 4 <= done < products), None)
    if compared is None or quarter is None:
        return 0.0  # too few products
    ended = next((at for at, _, done in seen if done == products), until)
    at, done = quarter
    return max(0.0, ended - compared - (ended - at) * products / (products - done))
