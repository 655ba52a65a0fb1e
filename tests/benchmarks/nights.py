"""A night in which nothing changed: `clip_reindex` compares a whole catalogue with its index, by stage.

The photos are tiny files that products share, and the encoder is a fake that costs nothing, because the index
must be filled first. The night reads neither: of each photo it asks for the size and the modification time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from .catalogue import step
from .databases import on_both
from .shop import Bench
from .table import Row, cores

AIM = 5000
"""Products a second, on two cores that nothing else uses."""
FILES = 1000
STAGES = {
    "rows and entries": ["django.db.models.query:QuerySet._fetch_all"],
    "content": ["clip_search.indexing.comparing:read_content"],
    "files": ["clip_search.documents.declaration:Declaration.image_signature"],
    "checks": ["clip_search.indexing.reading:checked"],
    "points": ["clip_search.indexing.comparing:read_points"],
    "store": [
        "clip_search.stores.embedded.store:call",
        "clip_search.stores.embedded.sharing:SharedHandle.enter",
        "clip_search.stores.embedded.sharing:SharedHandle.leave",
    ],
    "stamps": ["clip_search.indexing.comparing:_differs"],
    "stale": ["clip_search.documents.binding:BoundDocument.qualifying"],
}
"""The functions of each stage. The time in a function of another stage that they call counts there."""


def rows(bench: Bench) -> Iterator[Row]:
    return on_both(partial(nights, bench), "nightly run")


def nights(bench: Bench, database: str, is_postgresql: bool) -> Iterator[Row]:
    """Index a catalogue, and run `clip_reindex` again, in one and two processes."""
    name, count = f"nights-{database.lower()}", bench.sizes.nights
    step(bench, name, "stock", str(count), str(FILES), "tiny")
    step(bench, name, "reindex")
    found = {
        processes: [
            night(bench, name, count, "without_looking", processes) for _ in range(bench.sizes.rounds)
        ]
        for processes in ("1", "2")
    }
    measured = night(bench, name, count, "by_stage")
    stages = {stage: 1000 * spent / count for stage, spent in measured["stages"].items()}
    rest = 1000 * measured["core_seconds"] / count - sum(stages.values())
    for processes, runs in found.items():
        each = 1000 * median(run["core_seconds"] for run in runs) / count
        rate = count / median(run["seconds"] for run in runs)
        used = median(run["core_seconds"] / run["seconds"] for run in runs)
        said = f"{count:,} products unchanged, {database}, --processes {processes}"
        yield Row(
            figure=f"nightly run, {said}, a second",
            value=f"{rate:,.0f}/s",
            ratio=rate,
            note=f"{used:.2f} of {cores()} cores used; other processes may have taken the rest. {each:.3f} "
            f"core-milliseconds a product{', without those of PostgreSQL' * is_postgresql}. Aim: {AIM:,}/s.",
        )
    yield Row(
        figure=f"one process by stage, {database}, in core-milliseconds a product",
        value=f"{1000 * measured['core_seconds'] / count:.3f}",
        note=f"{', '.join(f'{stage} {spent:.3f}' for stage, spent in stages.items())}, rest {rest:.3f}.",
    )


def night(bench: Bench, name: str, count: int, *arguments: str) -> Any:
    found = step(bench, name, *arguments)
    assert not found["loaded"] and f"{count} unchanged" in found["said"], found
    return found
