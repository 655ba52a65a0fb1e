from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from ..shop import QUICK, bench
from ..table import Row, machine, report, say
from . import __doc__ as description
from .card import memory
from .checks import problems
from .loop import chosen_processes, loop
from .run import Run
from .vectors import equality
from .workers import workers

PARTS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "loop": loop,
    "equality": equality,
    "memory": memory,
    "workers": workers,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests.benchmarks.gpu",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda", help="as the setting DEVICE (%(default)s)")
    parser.add_argument("--products", type=int, default=12000, help="how many (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts alone")
    parser.add_argument(
        "--processes", nargs="+", default=["1", "auto"], help="of clip_reindex, each in turn (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="of the loop (%(default)s)")
    parser.add_argument("--seconds", type=float, default=360, help="how long it may take (%(default)s)")
    parser.add_argument("--model", type=Path, help="the folder of another CLIP model")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    options = parser.parse_args()
    started, rows = time.monotonic(), []

    def tell(line: str) -> None:
        say(f"{time.monotonic() - started:5.0f} s  {line}")

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as ClipEncoder does; the checks import torch first
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # else what the checks import would read the settings
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that files are removed and processes ended
    if wrong := list(problems(options.device, options.products)):
        print("\n".join(wrong), file=sys.stderr)
        return 2
    tell(f"nothing is missing: {machine()}")
    with bench(options.device, QUICK, options.model) as found:
        run = Run(
            bench=found,
            products=options.products,
            processes=chosen_processes(options.processes),
            rounds=options.rounds,
            seconds=options.seconds,
            started=started,
        )
        for part in options.only:
            tell(part)
            for row in measured(part, run):
                tell(f"  {' | '.join([*row.cells, row.note])}")
                rows.append(row)
    return report(rows, time.monotonic() - started, is_json=options.json)


def measured(part: str, run: Run) -> Iterator[Row]:
    """Yield the rows of a part. If it raises, yield one that fails, so that the other parts are measured."""
    try:
        yield from PARTS[part](run)
    except Exception as error:
        traceback.print_exc()
        note = f"{type(error).__name__}: {error}"
        yield Row(figure=part, value="an error", ratio=0, floor=1, note=note)


if __name__ == "__main__":
    sys.exit(main())
