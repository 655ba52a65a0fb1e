"""A process of its own, for what must start empty: `python -m tests.benchmarks.child STEP [ARGUMENT]`.

The last line that it prints is JSON.
"""

from __future__ import annotations

import gc
import io
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from . import shop
from .sampling import sampled

HEAVY = ("torch", "transformers", "sentence_transformers")


def stock(count: str, photos: str = "1000", kind: str = "small") -> None:
    """Make the products; so many small photos are shown by all."""
    shop.stock(int(count), kind, files=int(photos))


def reindex(*arguments: str, processes: str = "1") -> dict[str, Any]:
    """Run clip_reindex; if told "warm", one product was indexed before, and all is loaded that this needs."""
    from django.core.management import call_command

    if "warm" in arguments:
        from tests.shops.shop.models import Product

        call_command("clip_reindex", "product", ids=[str(Product.objects.values_list("pk").first()[0])])
        gc.collect()  # of half a million objects that came with torch, which the run would else look through
    said = io.StringIO()
    started, busy = time.perf_counter(), core_seconds()
    with watched("RssAnon") as own:
        call_command("clip_reindex", "product", processes=processes, stdout=said)
    return {
        "seconds": time.perf_counter() - started,
        "core_seconds": core_seconds() - busy,
        "peak_mb": peak_mb(),
        "own_mb": max(own),
        "said": said.getvalue().strip().splitlines()[-1],
        "loaded": [name for name in HEAVY if name in sys.modules],
    }


def core_seconds() -> float:
    """Return how long cores worked for this process, and for its child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    """Return the most memory that this process had; `ru_maxrss` would count the one that started it."""
    return megabytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def megabytes(name: str) -> float:
    """Return a figure that Linux tells of this process, elsewhere 0."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


@contextmanager
def watched(name: str) -> Iterator[list[float]]:
    """Read the figure ten times a second while the block runs, and once before."""
    with sampled(lambda: megabytes(name), every=0.1) as found:
        found.append(megabytes(name))
        yield found


def without_looking(processes: str = "1") -> dict[str, Any]:
    """Run clip_reindex where opening an image is an error."""
    from clip_search import images

    with patch.object(images, "read", side_effect=AssertionError("an image was opened")):
        return reindex(processes=processes)


def by_stage() -> dict[str, Any]:
    """Run clip_reindex as `without_looking()` does, and measure its stages."""
    from .nights import STAGES
    from .stopwatch import Stopwatch

    stopwatch = Stopwatch(STAGES)
    with stopwatch.running():
        found = without_looking()
    return found | {"stages": stopwatch.spent}


def price(change: str) -> None:
    """Change every price, unseen by a signal."""
    from django.db.models import F

    from tests.shops.shop.models import Product

    Product.objects.update(price=F("price") + int(change))


STEPS = {step.__name__: step for step in (stock, reindex, without_looking, by_stage, price)}

if __name__ == "__main__":
    shop.set_up()
    step, *arguments = sys.argv[1:]
    print(json.dumps(STEPS[step](*arguments)))
