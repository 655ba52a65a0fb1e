"""The options of a run, and what its parts share."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import shop
from ..shop import Bench


@dataclass(frozen=True, kw_only=True)
class Run:
    """The options of a run, and where its files lie."""

    bench: Bench
    products: int
    processes: Sequence[str]
    """What `clip_reindex --processes` gets, each in turn."""
    rounds: int
    seconds: float
    """How long the run may take. Rounds after the first one are left out if they do not fit."""
    started: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> str:
        return self.bench.device

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


def stocked(products: int) -> None:
    """Replace the shop's products by so many new ones, of which nothing is indexed."""
    from ..bulk import nothing_indexed

    shop.empty()
    shop.stock(products)
    nothing_indexed()


def reindex(**options: Any) -> None:
    from django.core.management import call_command

    call_command("clip_reindex", "product", stdout=io.StringIO(), **options)


def check_all_indexed(products: int) -> None:
    from clip_search.models import IndexEntry

    states = Counter(IndexEntry.objects.values_list("state", flat=True))
    assert states == {IndexEntry.State.INDEXED: products}, f"not all are indexed: {dict(states)}"
