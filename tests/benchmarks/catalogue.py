"""A catalogue of 20,000 products, a small model: the nightly run, new prices, and how cost grows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .shop import DEMO_MODEL, Bench
from .table import Row


def rows(bench: Bench) -> Iterator[Row]:
    _, low, _, most = bench.sizes.catalogue
    runs = first_runs(bench)
    yield growth(runs)
    yield peak(low, runs[low], most, runs[most], ", with the demo's model")
    yield from later_runs(bench, shop_of(most), most, floors=(3000, 1500))


def later_runs(
    bench: Bench,
    name: str,
    most: int,
    said: str = "",
    *,
    model: Path = DEMO_MODEL,
    floors: tuple[float, float] | tuple[None, None] = (None, None),
) -> Iterator[Row]:
    """Run it again over all, without a change and with new prices."""
    night = step(bench, name, "without_looking", model=model)
    assert not night["loaded"] and f"{most} unchanged" in night["said"], night
    note = "No model loaded, no image opened."
    yield a_second(f"nightly run, {most:,} products unchanged{said}", most, night, floors[0], note)
    step(bench, name, "price", "1")
    changed = step(bench, name, "without_looking", model=model)
    assert not changed["loaded"] and f"{most} payload only" in changed["said"], changed
    yield a_second(f"new prices of {most:,} products{said}", most, changed, floors[1], "Nothing embedded.")


def peak(low: int, few: Any, most: int, many: Any, said: str = "", floor: float | None = None) -> Row:
    """Compare the most memory that two runs took."""
    return Row(
        figure=f"peak memory at {most:,} products, against {low:,}{said}",
        value=f"{many['peak_mb']:,.0f} MB",
        baseline=f"{few['peak_mb']:,.0f} MB",
        ratio=many["peak_mb"] / few["peak_mb"],
        floor=floor,
        at_most=True,
        note=f"Without the files that the store maps into memory: {many['own_mb']:.0f} and "
        f"{few['own_mb']:.0f} MB, {many['own_mb'] / few['own_mb']:.2f}.",
    )


def shop_of(count: int, kind: str = "catalogue") -> str:
    return f"{kind}-{count}"


def step(bench: Bench, name: str, *arguments: str, model: Path = DEMO_MODEL) -> Any:
    """Run a step in a process of its own and return what it says."""
    process = bench.start(
        name, "-m", "tests.benchmarks.child", *arguments, model=model, stdout=subprocess.PIPE
    )
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output
    return json.loads(output.splitlines()[-1])


def first_run(
    bench: Bench, count: int, kind: str = "catalogue", model: Path = DEMO_MODEL, photos: int = 1000
) -> Any:
    """Fill a shop with products that show so many photos between them, and index it."""
    name = shop_of(count, kind)
    step(bench, name, "stock", str(count), str(photos))
    found = step(bench, name, "reindex", "warm", model=model)
    assert f"{count - 1} embedded" in found["said"], found
    return found


def first_runs(bench: Bench) -> dict[int, Any]:
    """Return a first run of each size: the median of several, where one takes but a second or two."""
    *fewer, most = bench.sizes.catalogue
    rounds = [
        {count: first_run(bench, count, f"catalogue-{number}") for count in fewer}
        for number in range(bench.sizes.rounds)
    ]
    in_order = {count: sorted((runs[count] for runs in rounds), key=cost) for count in fewer}
    return {count: runs[len(runs) // 2] for count, runs in in_order.items()} | {most: first_run(bench, most)}


def cost(run: Any) -> float:
    return float(run["core_seconds"])


def growth(runs: dict[int, Any]) -> Row:
    """Compare core-seconds: what else the machine does would show in any other time."""
    each = {count: 1000 * run["core_seconds"] / count for count, run in runs.items()}
    waited = ", ".join(f"{1000 * run['seconds'] / count:.1f}" for count, run in runs.items())
    dearest, cheapest = max(each.values()), min(each.values())
    said = ", ".join(f"{count:,}: {spent:.2f}" for count, spent in each.items())
    return Row(
        figure="cost growth: core-milliseconds a product, dearest against cheapest",
        value=f"{dearest:.2f}",
        baseline=f"{cheapest:.2f}",
        ratio=dearest / cheapest,
        floor=1.15,
        at_most=True,
        note=f"{said}. On the clock, in milliseconds: {waited}.",
    )


def a_second(figure: str, count: int, run: Any, floor: float | None, note: str) -> Row:
    rate, busy = count / run["seconds"], count / run["core_seconds"]
    note = f"{note} {busy:,.0f} for each second that a core worked for it."
    return Row(figure=f"{figure}, a second", value=f"{rate:,.0f}/s", ratio=rate, floor=floor, note=note)
