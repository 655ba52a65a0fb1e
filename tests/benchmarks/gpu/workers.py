"""Several queue workers that share a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .. import endpoints
from ..sampling import sampled
from ..table import Row
from .card import free_megabytes
from .run import Run, check_all_indexed, reindex, stocked


def workers(run: Run) -> Iterator[Row]:
    """Let workers, each with a model of its own, index a quarter of the products."""
    count, products = 4 if run.on_gpu else 2, run.products // 4
    stocked(products)
    before = free_megabytes(run.device)
    with endpoints.workers(run.bench, count):
        loaded = free_megabytes(run.device)
        started = time.monotonic()
        with sampled(lambda: free_megabytes(run.device)) as free:
            reindex(queue=True)
        seconds = time.monotonic() - started
    check_all_indexed(products)
    if before is None or loaded is None:
        note = "Their memory on a GPU was not measured."
    else:
        idle, most = ((before - left) / count for left in (loaded, min([loaded, *free])))
        note = f"Memory of the GPU for each: {idle:.0f} MB with the model loaded, {most:.0f} MB at most."
    yield Row(
        figure=f"{count} workers share the device: products indexed of those queued, none failed",
        value=f"{products:,}",
        baseline=f"{products:,}",
        ratio=1,
        floor=1,
        note=f"{products / seconds:.0f} a second, comparing included. {note}",
    )
