"""Measure how well shoppers find what texts say: `python -m tests.benchmarks.branded [--json] [--shop S …]`.

Every variant of the shop is a process of its own, with its own database and index. What is judged is what a
shopper sees: the results, or the closest products if there are no results.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .measure import rows
from .shop import ROOT, TEXT_MODEL, VARIANTS, set_up

FIRST_TEN = ("recall@10", "nDCG@10", "hit@10")
ALL_FOUND = ("precision", "recall", "empty")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.branded", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON rather than tables")
    parser.add_argument("--shop", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="SHOP")
    parser.add_argument("--text-model", metavar="FOLDER", help="embed texts with this model instead of CLIP")
    options = parser.parse_args()
    if options.text_model:
        os.environ[TEXT_MODEL] = options.text_model
    found = in_this_process(*options.shop) if len(options.shop) == 1 else in_processes(options.shop)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


def in_this_process(name: str) -> list[dict[str, Any]]:
    """Fill a shop, index it and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        set_up(VARIANTS[name], Path(folder))
        from clip_search.stores import get_store

        from .clip_documents import ArticleDocument

        try:
            return rows(VARIANTS[name], ArticleDocument.search)
        finally:
            get_store().close()  # or it is still open when its folder goes


def in_processes(names: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for name in names:
        command = [sys.executable, "-m", "tests.benchmarks.branded", "--json", "--shop", name]
        found += json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return found


def show(found: Sequence[Mapping[str, Any]]) -> None:
    """Print two tables for each language, its shops side by side: the first ten, and everything found."""
    for language in dict.fromkeys(row["shop"].partition("-")[0] for row in found):
        rows = [row for row in found if row["shop"].startswith(language)]
        show_side_by_side([row for row in rows if FIRST_TEN[0] in row], FIRST_TEN)
        show_side_by_side([row for row in rows if FIRST_TEN[0] not in row], ALL_FOUND)


def show_side_by_side(rows: Sequence[Mapping[str, Any]], figures: Sequence[str]) -> None:
    """Print a line for each class of queries. A figure that a shop does not have is left blank."""
    shops = list(dict.fromkeys(row["shop"] for row in rows))
    width = sum(len(figure) + 1 for figure in figures)
    print(f"{'':26}" + "".join(f"{shop:>{width + 2}}" for shop in shops))
    print(f"{'queries':26}" + len(shops) * f"   {' '.join(figures)}")
    for asked_by in dict.fromkeys(row["queries"] for row in rows):
        cells = ""
        for shop in shops:
            row = next((row for row in rows if (row["shop"], row["queries"]) == (shop, asked_by)), {})
            values = (f"{row[name]:.3f}" if name in row else "" for name in figures)
            cells += "  " + "".join(f" {one:>{len(name)}}" for one, name in zip(values, figures, strict=True))
        print(f"{asked_by:26}{cells}".rstrip())
    print()


if __name__ == "__main__":
    main()
