"""Measure how fast it is: `tox run -e bench -- [--only …] [--quick] [--json] [--device cuda]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from importlib import import_module

from clip_search.encoders.clip import WAITING

from .shop import FULL, QUICK, bench
from .table import report, say

TOPICS = (
    "bulk",
    "stages",
    "texts",
    "precision",
    "catalogue",
    "nights",
    "memory",
    "saving",
    "endpoints",
    "hang",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=TOPICS, default=TOPICS, help="these topics alone")
    parser.add_argument("--quick", action="store_true", help="small sizes: 3 minutes, and rough figures")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    options = parser.parse_args()
    os.environ.setdefault(WAITING, "PASSIVE")  # as ClipEncoder does; here the baselines import torch first
    rows, started = [], time.monotonic()
    with bench(options.device, QUICK if options.quick else FULL) as found:
        for topic in options.only:
            say(f"{time.monotonic() - started:5.0f} s  {topic}")
            for row in import_module(f".{topic}", __package__).rows(found):
                say(f"{time.monotonic() - started:5.0f} s    {' | '.join([*row.cells, row.note])}")
                rows.append(row)
    return report(rows, time.monotonic() - started, is_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
