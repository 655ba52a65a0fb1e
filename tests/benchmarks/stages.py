"""What limits a fast model: everything but the model, by stage, with an encoder that costs nothing.

One process, and two together, index the same products as `clip_reindex --processes` does. The time that the
cores spend in each stage is measured where its functions are called, in all threads (`time.thread_time`):
waiting does not count, nor does starting. If py-spy is installed, it samples how long Python's lock is held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time, sleep, time
from typing import Any
from unittest.mock import patch

from clip_search import child

from . import shop
from .databases import on_both
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
FILES = 512
"""How many files with photos the products share: 150 MB. Each is decoded for each of its products."""
IMAGES = ("open", "hash", "decode", "resize")
"""The stages that the baseline has too."""


def rows(bench: Bench) -> Iterator[Row]:
    return on_both(partial(compared, bench), "everything but the model")


def compared(bench: Bench, database: str, is_postgresql: bool) -> Iterator[Row]:
    """Compare one process and two with threads that only read, hash and decode the same files."""
    name, count = f"stages-{database.lower()}", bench.sizes.stages
    run(bench, name, 1, "stock", count)
    cost = 0.0
    for processes in (1, 2):
        runs: dict[str, list[Run]] = {"decode": [], "command": []}
        for _ in range(bench.sizes.rounds):
            for step, found in runs.items():
                run(bench, name, 1, "pending")
                started = processes if step == "decode" else 1  # a command starts the others itself
                found.append(Run(run(bench, name, started, step, processes), count))
        said = f"{database}, {processes} process{'es' * (processes > 1)}"
        yield from table(said, count, runs["decode"], runs["command"])
        if processes == 1:
            cost = median(one.each for one in runs["command"])
        else:
            yield against_cores(said, count, cost, runs["command"], is_postgresql)
    if not is_postgresql:
        yield locked(bench, name, count)


class Run:
    """What the processes of one run took together."""

    def __init__(self, answers: Sequence[Mapping[str, Any]], count: int) -> None:
        assert sum(answer["products"] for answer in answers) == count, answers
        self.seconds = max(answer["seconds"] for answer in answers)
        self.core_seconds = sum(answer["core_seconds"] for answer in answers)
        self.waited = sum(answer["waited"] for answer in answers)
        """Seconds of waiting for the embedded store."""
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
    waited = median(one.waited / one.seconds for one in ours)
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


def against_cores(said: str, count: int, cost: float, ours: Sequence[Run], is_postgresql: bool) -> Row:
    """Compare the rate with what the cores could do if a product cost what it costs one process."""
    rate, possible = count / median(one.seconds for one in ours), 1000 * cores() / cost
    return Row(
        figure=f"everything but the model, {said}, against {cores()} cores at the cost in one process",
        value=f"{rate:.0f}/s",
        baseline=f"{possible:.0f}/s",
        ratio=rate / possible,
        floor=0.95 if is_postgresql else None,
        note="The processes of PostgreSQL use the same cores." * is_postgresql,
    )


PY_SPY = Path(sys.executable).with_name("py-spy")
SAMPLES_A_SECOND = 200


def locked(bench: Bench, name: str, count: int) -> Row:
    """Sample for how long the threads of one process hold Python's lock for a product."""
    figure = "the time under Python's lock, 1 process, in milliseconds a product"
    if not PY_SPY.exists():
        return Row(figure=figure, value="not measured", note="py-spy is not installed.")
    run(bench, name, 1, "pending")
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        run(bench, name, 1, "sampled", 1, watch=partial(sampled, Path(file.name)))
        stacks = Counter[tuple[str, ...]]()
        for line in file.read().decode().splitlines():
            stack, _, samples = line.rpartition(" ")
            stacks[tuple(stack.split(";"))] += int(samples)
    most = Counter[str]()
    for frames, samples in stacks.items():
        most[frames[-1].rpartition(":")[0] + ")"] += samples
    in_ms = 1000 / SAMPLES_A_SECOND / count
    shares = ", ".join(f"{function} {samples * in_ms:.2f}" for function, samples in most.most_common(5))
    return Row(
        figure=figure,
        value=f"{stacks.total() * in_ms:.2f}",
        note=f"Sampled by py-spy; only on a quiet machine does it mean anything. Most: {shares}.",
    )


def sampled(file: Path, pid: int) -> subprocess.Popen[bytes]:
    """Start py-spy, which samples the process until it ends."""
    words = ["record", "--gil", "--format", "raw", "--rate", str(SAMPLES_A_SECOND), "--output", str(file)]
    spy = subprocess.Popen(
        [PY_SPY, *words, "--pid", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    sleep(2)  # until it has read the process's symbols
    return spy


# Processes.


def run(
    bench: Bench,
    name: str,
    processes: int,
    step: str,
    *arguments: object,
    watch: Callable[[int], subprocess.Popen[bytes]] | None = None,
) -> list[dict[str, Any]]:
    """Run a step in processes that begin together when all are ready. Return what each says.

    `watch` starts another process for each of them, which ends by itself.
    """
    with ExitStack() as stack:
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started = []
        for number in range(processes):
            words = map(str, (step, number, *arguments))
            child = bench.start(name, "-m", "tests.benchmarks.stages", *words, **pipes)
            started.append(stack.enter_context(child))
            stack.callback(child.kill)
        for child in started:
            assert child.stdout.readline() == "ready\n"
        watchers = [watch(child.pid) for child in started] if watch else []
        for child in started:
            child.stdin.write("go\n")
            child.stdin.flush()
        found = [json.loads(child.communicate(timeout=1800)[0].splitlines()[-1]) for child in started]
        for watcher in watchers:
            watcher.wait(60)
        return found


def main() -> None:
    """Run a step in this process, as `run()` says."""
    import django

    django.setup()
    step, *arguments = sys.argv[1:]
    prepared = STEPS[step](*map(int, arguments))
    print("ready", flush=True)
    sys.stdin.readline()
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {ANSWERS: folder}):
        with patch.object(child, "run", in_child):
            answer = measured(prepared, STAGES if step == "command" else {})
        for path in Path(folder).glob("*.json"):
            other = json.loads(path.read_text())
            answer["stages"] = Counter(answer["stages"]) + Counter(other["stages"])
            answer["core_seconds"] += other["core_seconds"]
            answer["began"] = max(answer["began"], other["began"])
    if step == "command":
        assert all(answer["stages"][stage] for stage in STAGES), answer
    answer["seconds"] = answer["ended"] - answer["began"]
    print(json.dumps(answer))


def measured(work: Callable[[], int], stages: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what a piece of work took in this process. It returns the number of its products."""
    stopwatch = Stopwatch(stages)
    began, busy = time(), process_time()
    with stopwatch.running():
        products = work()
    used, ended = process_time() - busy, time()
    answer = {"products": products, "began": began, "ended": ended, "core_seconds": used}
    return answer | {"waited": stopwatch.waited, "stages": stopwatch.spent}


ANSWERS = "CLIP_SEARCH_BENCH_ANSWERS"
"""The environment variable that names the folder for the answers of a command's processes."""
run_child = child.run


def in_child(task: child.Task, *connections: Any) -> None:
    """Run and measure a process of a command. The clock starts when all processes are ready."""
    import django

    django.setup()
    decode_all(files()[:1], 1)
    folder = Path(os.environ[ANSWERS])
    (folder / f"{os.getpid()}.ready").touch()
    while len(list(folder.glob("*.ready"))) < task.processes:
        sleep(0.01)

    def work() -> int:
        run_child(task, *connections)
        return 0

    answer = json.dumps(measured(work, STAGES))
    (folder / f"{os.getpid()}.json").write_text(answer)


def stock(number: int, count: int) -> Callable[[], int]:
    """Make the tables and the products, each with a photo of 1000 × 1000 pixels."""
    shop.set_up()

    def work() -> int:
        shop.stock(count, "square", min(count, FILES))
        return count

    return work


def pending(number: int) -> Callable[[], int]:
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


def command(number: int, processes: int) -> Callable[[], int]:
    """Index what is due, as `clip_reindex --processes` does after it has compared."""
    from clip_search import parallel
    from clip_search.documents.registry import registry
    from clip_search.indexing.targets import get_target
    from clip_search.stores import get_store

    document = registry.get("product")
    assert document
    target = get_target(document)
    target.store.count(target.collections[0].name)  # loads the engine
    decode_all(files()[:1], 1)

    def work() -> int:
        with get_store().keep_open():
            reports = parallel.index_due(document, processes=processes)
            return sum(report.embedded for report in reports)

    return work


def decode(number: int, processes: int) -> Callable[[], int]:
    """Read, hash and decode this process's part of the photos, in threads: the baseline."""
    part = files()[number::processes]
    decode_all(part[:1], 1)
    return lambda: decode_all(part, max(1, cores() // processes))


def files() -> list[Path]:
    from django.conf import settings

    from tests.shops.shop.models import ProductImage

    names = ProductImage.objects.order_by("pk").values_list("original", flat=True)
    return [Path(settings.MEDIA_ROOT) / name for name in names]


def decode_all(paths: Sequence[Path], threads: int) -> int:
    from clip_search import images

    def load(path: Path) -> None:
        data = path.read_bytes()
        images.content_hash(data)
        images.shrink(data, 224)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(load, paths):
            pass
    return len(paths)


STEPS: dict[str, Callable[..., Callable[[], int]]] = {
    "stock": stock,
    "pending": pending,
    "command": command,
    "sampled": command,
    "decode": decode,
}


if __name__ == "__main__":
    main()
