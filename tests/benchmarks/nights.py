"""A night in which nothing changed: `clip_reindex` compares a whole catalogue with its index, by stage.

The photos are tiny files that products share, and the encoder is a fake that costs nothing, because the index
must be filled first. The night reads neither: of each photo it asks for the size and the modification time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from statistics import median
from typing import Any
from unittest.mock import patch

from .catalogue import step
from .databases import DATABASE, postgresql
from .fake_encoder import ENCODER
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
    yield from nights(bench, "SQLite", "")
    with postgresql() as url:
        if url:
            yield from nights(bench, "PostgreSQL", url)
        else:
            note = "None answers at CLIP_SEARCH_TEST_POSTGRESQL_URL."
            yield Row(figure="nightly run, PostgreSQL", value="not measured", note=note)


def nights(bench: Bench, database: str, url: str) -> Iterator[Row]:
    """Index a catalogue, and run `clip_reindex` again, with and without the stopwatch."""
    name, count = f"nights-{database.lower()}", bench.sizes.nights
    variables = {"CLIP_SEARCH_BENCH_ENCODER": ENCODER, "CLIP_SEARCH_TEST_DATABASE_URL": url}
    if url:
        variables["CLIP_SEARCH_TEST_DATABASE_NAME"] = DATABASE
    with patch.dict(os.environ, variables):
        step(bench, name, "stock", str(count), str(FILES), "tiny")
        step(bench, name, "reindex")
        runs = [night(bench, name, count) for _ in range(bench.sizes.rounds)]
        measured = night(bench, name, count, "by_stage")
    each = [1000 * run["core_seconds"] / count for run in runs]
    stages = {stage: 1000 * spent / count for stage, spent in measured["stages"].items()}
    rest = 1000 * measured["core_seconds"] / count - sum(stages.values())
    rate = count / median(run["seconds"] for run in runs)
    yield Row(
        figure=f"nightly run, {count:,} products unchanged, {database}, a second",
        value=f"{rate:,.0f}/s",
        ratio=rate,
        note=f"{median(run['core_seconds'] / run['seconds'] for run in runs):.2f} of {cores()} cores used; "
        f"other processes may have taken the rest. The aim is {AIM:,}.",
    )
    yield Row(
        figure="the same in core-milliseconds a product",
        value=f"{median(each):.3f}",
        note=f"{', '.join(f'{stage} {spent:.3f}' for stage, spent in stages.items())}, rest {rest:.3f}."
        f"{' The processes of PostgreSQL are not counted.' * bool(url)}",
    )


def night(bench: Bench, name: str, count: int, kind: str = "without_looking") -> Any:
    found = step(bench, name, kind)
    assert not found["loaded"] and f"{count} unchanged" in found["said"], found
    return found
