"""What limits a fast model: everything but the model, by stage, with an encoder that costs nothing.

A command, and one or several queue workers, index the same products. The time that the cores spend in each
stage is measured where its functions are called, in all threads (`time.thread_time`): waiting does not count.

To sample which functions hold Python's lock, run it under `py-spy record --gil --subprocesses -f raw`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

from . import shop
from .databases import DATABASE, postgresql
from .fake_encoder import ENCODER
from .shop import Bench
from .stopwatch import Stopwatch
from .table import Row, cores, ratio

STAGES = {
    "claim": ["clip_search.models.entries:IndexEntryQuerySet.claim"],
    "read": ["clip_search.indexing.pipeline:read_items"],
    "open": ["clip_search.indexing.embedding:read_image"],
    "hash": ["clip_search.images:content_hash"],
    "decode": ["clip_search.images:shrink"],
    "resize": ["clip_search.images:_small"],
    "embed": ["clip_search.indexing.pipeline:embed"],
    "records": [
        "clip_search.indexing.pipeline:read_points",
        "clip_search.indexing.pipeline:write",
        "clip_search.stores.qdrant:QdrantStore._record",
    ],
    "store": [
        "clip_search.stores.embedded.store:call",
        "clip_search.stores.embedded.sharing:SharedHandle.enter",
        "clip_search.stores.embedded.sharing:SharedHandle.leave",
    ],
    "finish": ["clip_search.indexing.pipeline:finish"],
}
"""The functions of each stage. The time in a function of another stage that they call counts there."""
IMAGES = ("open", "hash", "decode", "resize")
"""The stages that the baseline has too."""


def rows(bench: Bench) -> Iterator[Row]:
    yield from compared(bench, "SQLite", "")
    with postgresql() as url:
        if url:
            yield from compared(bench, "PostgreSQL", url)
        else:
            note = "None answers at CLIP_SEARCH_TEST_POSTGRESQL_URL."
            yield Row(figure="everything but the model, PostgreSQL", value="not measured", note=note)


def compared(bench: Bench, database: str, url: str) -> Iterator[Row]:
    """Compare a command and workers with threads that only read, hash and decode the same files."""
    name, count = f"stages-{database.lower()}", bench.sizes.stages
    variables = {"CLIP_SEARCH_BENCH_ENCODER": ENCODER, "CLIP_SEARCH_TEST_DATABASE_URL": url}
    if url:
        variables["CLIP_SEARCH_TEST_DATABASE_NAME"] = DATABASE
    with patch.dict(os.environ, variables):
        run(bench, name, 1, "stock", count)
        for processes, *steps in ((1, "command", "worker"), (2, "worker")):
            runs: dict[str, list[Run]] = {step: [] for step in ("decode", *steps)}
            for _ in range(bench.sizes.rounds):
                for step, found in runs.items():
                    run(bench, name, 1, "pending")
                    found.append(Run(run(bench, name, processes, step), count))
            for step in steps:
                said = f"{database}, {processes} {step}{'s' * (processes > 1)}"
                yield from table(said, count, runs["decode"], runs[step])


class Run:
    """What the processes of one run took together."""

    def __init__(self, answers: Sequence[Mapping[str, Any]], count: int) -> None:
        assert sum(answer["products"] for answer in answers) == count, answers
        self.processes = len(answers)
        self.seconds = max(answer["seconds"] for answer in answers)
        self.core_seconds = sum(answer["core_seconds"] for answer in answers)
        self.waited = sum(answer["waited"] for answer in answers)
        """Seconds for which the processes waited for the store, all together."""
        stages: Counter[str] = Counter()
        for answer in answers:
            stages.update(answer["stages"])
        self.stages = {stage: 1000 * spent / count for stage, spent in stages.items()}
        """Core-milliseconds a product."""
        self.each = 1000 * self.core_seconds / count
        """Core-milliseconds a product in all."""
        self.beside = self.each - sum(self.stages.get(stage, 0) for stage in IMAGES)


def table(said: str, count: int, alone: Sequence[Run], ours: Sequence[Run]) -> Iterator[Row]:
    used = median(one.core_seconds / one.seconds for one in ours)
    stages = {stage: median(one.stages[stage] for one in ours) for stage in STAGES}
    rest = median(one.each - sum(one.stages.values()) for one in ours)
    waited = median(one.waited / one.seconds / one.processes for one in ours)
    yield Row(
        figure=f"everything but the model, {said}, against reading and decoding the files alone",
        value=f"{count / median(one.seconds for one in ours):.0f}/s",
        baseline=f"{count / median(one.seconds for one in alone):.0f}/s",
        ratio=ratio([one.seconds for one in alone], [one.seconds for one in ours]),
        note=f"The encoder is a fake that costs nothing. {used:.2f} of {cores()} cores used; other processes "
        f"may have taken the rest. {waited:.0%} of the time went into waiting for the embedded store.",
    )
    yield Row(
        figure="the same in core-milliseconds a product",
        value=f"{median(one.each for one in ours):.2f}",
        baseline=f"{median(one.each for one in alone):.2f}",
        ratio=ratio([one.each for one in ours], [one.each for one in alone]),
        note=f"{', '.join(f'{stage} {spent:.2f}' for stage, spent in stages.items())}, rest {rest:.2f}. "
        f"Without {', '.join(IMAGES)}: {median(one.beside for one in ours):.2f}."
        f"{' The processes of PostgreSQL are not counted.' * said.startswith('PostgreSQL')}",
    )


# Processes.


def run(bench: Bench, name: str, processes: int, step: str, *arguments: object) -> list[dict[str, Any]]:
    """Run a step in processes that begin together when all are ready. Return what each says."""
    with ExitStack() as stack:
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started = []
        for number in range(processes):
            words = map(str, (step, *arguments, number, processes))
            child = bench.start(name, "-m", "tests.benchmarks.stages", *words, **pipes)
            started.append(stack.enter_context(child))
            stack.callback(child.kill)
        for child in started:
            assert child.stdout.readline() == "ready\n"
        for child in started:
            child.stdin.write("go\n")
            child.stdin.flush()
        return [json.loads(child.communicate(timeout=1800)[0].splitlines()[-1]) for child in started]


def main() -> None:
    """Run a step in this process, as `run()` says."""
    import django

    django.setup()
    step, *arguments, number, processes = sys.argv[1:]
    prepared = STEPS[step](int(number), int(processes), *map(int, arguments))
    print("ready", flush=True)
    sys.stdin.readline()
    stopwatch = Stopwatch(STAGES)
    started, busy = perf_counter(), process_time()
    with stopwatch.running():
        products = prepared()
    took, used = perf_counter() - started, process_time() - busy
    if step in ("command", "worker"):
        assert all(stopwatch.spent[stage] for stage in STAGES) or not products, stopwatch.spent
    answer = {"products": products, "seconds": took, "core_seconds": used, "waited": stopwatch.waited}
    print(json.dumps(answer | {"stages": stopwatch.spent}))


def stock(number: int, processes: int, count: int) -> Callable[[], int]:
    """Make the tables and the products, each with a photo of 1000 × 1000 pixels."""
    shop.set_up()

    def work() -> int:
        shop.stock(count, "square")
        return count

    return work


def pending(number: int, processes: int) -> Callable[[], int]:
    """Mark every product as pending, as `clip_reindex` does, with an empty index."""
    from clip_search.documents.registry import registry
    from clip_search.indexing.comparing import compare, mark_changed

    from .bulk import nothing_indexed

    document = registry.get("product")
    assert document

    def work() -> int:
        nothing_indexed()
        for _ in mark_changed(document, compare(document)):
            pass
        return 0

    return work


def worker(number: int, processes: int) -> Callable[[], int]:
    """Index what is due, as a queue worker does.

    The embedded store can be open in one process at a time, so a worker opens it for each batch and closes it
    again. Other workers wait for it, while their threads go on decoding.
    """
    from clip_search import indexing
    from clip_search.documents.registry import registry
    from clip_search.indexing.targets import get_target

    document = registry.get("product")
    assert document
    target = get_target(document)
    target.store.count(target.collections[0].name)  # loads the engine
    decode_all(files()[:1])

    return lambda: sum(report.embedded for report in indexing.index_due(document))


def command(number: int, processes: int) -> Callable[[], int]:
    """Index what is due, as a command does: the embedded store stays open until another process wants it."""
    work = worker(number, processes)
    from clip_search.stores import get_store

    def work_with_open_store() -> int:
        with get_store().keep_open():
            return work()

    return work_with_open_store


def decode(number: int, processes: int) -> Callable[[], int]:
    """Read, hash and decode this process's part of the photos, in threads: the baseline."""
    part = files()[number::processes]
    decode_all(part[:1])
    return lambda: decode_all(part)


def files() -> list[Path]:
    from django.conf import settings

    from tests.shops.shop.models import ProductImage

    names = ProductImage.objects.order_by("pk").values_list("original", flat=True)
    return [Path(settings.MEDIA_ROOT) / name for name in names]


def decode_all(paths: Sequence[Path]) -> int:
    from clip_search import images

    def load(path: Path) -> None:
        data = path.read_bytes()
        images.content_hash(data)
        images.shrink(data, 224)

    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(load, paths):
            pass
    return len(paths)


STEPS: dict[str, Callable[..., Callable[[], int]]] = {
    step.__name__: step for step in (stock, pending, command, worker, decode)
}


if __name__ == "__main__":
    main()
