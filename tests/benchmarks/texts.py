"""Texts alone: `clip_reindex` of products without photos."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from . import shop
from .baselines import loop
from .bulk import contents, nothing_indexed, reindex
from .shop import Bench
from .table import Row, in_turn, ratio, seconds_alone


def rows(bench: Bench) -> Iterator[Row]:
    from clip_search.encoders import get_encoder

    count, few = bench.sizes.texts, bench.sizes.texts // 8
    shop.empty()
    shop.stock(count, None)
    texts, _ = contents()
    plain = loop(bench.model, bench.folder / "loop", bench.device)
    get_encoder().warm_up(images=False)
    batches, singles, ours = in_turn(
        bench.sizes.rounds,
        lambda: plain.in_batches(texts),
        lambda: plain.one_by_one(texts[:few]),
        reindex,
        timed=seconds_alone,
        before=nothing_indexed,
    )
    singles = [spent * count / few for spent in singles]
    for name, baseline, floor in (("(b)", batches, 2), ("(e)", singles, 8)):
        yield Row(
            figure=f"text-only bulk, against {name}",
            value=f"{count / median(ours):.0f}/s",
            baseline=f"{count / median(baseline):.0f}/s",
            ratio=ratio(baseline, ours),
            floor=floor,
        )
