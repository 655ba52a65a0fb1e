"""The bulk pipeline, `clip_reindex` end to end, models loaded: against a plain loop and against perfect overlap."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from django.core.management import call_command

from . import shop
from .baselines import BATCH, FLOPS_AN_IMAGE, loop, matrix_products
from .shop import Bench
from .table import Row, cores, cpu_flags, in_turn, ratio

OLD_SERVICE = 3.6
"""Products a second, as its report says."""


def rows(bench: Bench) -> Iterator[Row]:
    count = bench.sizes.bulk
    plain, ours = compared(bench, "square", count)
    yield against_the_loop("bulk, 1000 × 1000 JPEGs", count, plain, ours, 5 if amx() else 1.5)
    yield from overlap(bench, count, ours)
    rate = count / median(ours)
    yield Row(
        figure="bulk, images a second against the old service",
        value=f"{rate:.1f}/s",
        baseline=f"{OLD_SERVICE}/s",
        ratio=rate / OLD_SERVICE,
        floor=15 if amx() else None,
        note="" if amx() else "The floor of 15 is for two cores with AMX, which this CPU has not.",
    )
    count = bench.sizes.mixed
    plain, ours = compared(bench, "mixed", count)
    yield against_the_loop("bulk, JPEGs of 400 to 3000 pixels", count, plain, ours, 5)
    if bench.device == "cuda":
        yield gpu(bench, count)


def amx() -> bool:
    return "amx_bf16" in cpu_flags()


def compared(bench: Bench, kind: str, count: int) -> tuple[list[float], list[float]]:
    """Return the seconds, round by round, of baseline (b) and of clip_reindex over the same products."""
    from clip_search.encoder import get_encoder

    shop.empty()
    shop.stock(count, kind)
    plain = loop(bench.model, bench.folder / "loop", bench.device)
    texts, paths = contents()
    get_encoder().warm_up()
    plain.images([paths[0].read_bytes()])
    loops, runs = in_turn(bench.sizes.rounds, lambda: plain.in_batches(texts, paths), reindex)
    return loops, runs


def contents() -> tuple[list[str], list[Path]]:
    """Return the products' texts and the paths of their photos."""
    from django.conf import settings

    from tests.shop.models import Product

    found = Product.objects.prefetch_related("images").order_by("pk")
    pairs = [(f"{p.name}. {p.description}", [i.original.name for i in p.images.all()]) for p in found]
    return [text for text, _ in pairs], [Path(settings.MEDIA_ROOT) / names[0] for _, names in pairs if names]


def reindex() -> None:
    """Run `clip_reindex` over a shop whose index is empty."""
    shop.forget()
    said = io.StringIO()
    call_command("clip_reindex", "product", stdout=said)
    assert " embedded" in said.getvalue(), said.getvalue()


def against_the_loop(figure: str, count: int, plain: list[float], ours: list[float], floor: float) -> Row:
    return Row(
        figure=f"{figure}, against (b)",
        value=f"{count / median(ours):.1f}/s",
        baseline=f"{count / median(plain):.1f}/s",
        ratio=ratio(plain, ours),
        floor=floor,
    )


def core_seconds(work: Callable[[], object]) -> float:
    """Return the seconds that the cores were busy."""
    started = time.process_time()
    work()
    return time.process_time() - started


def overlap(bench: Bench, count: int, ours: list[float]) -> Iterator[Row]:
    """Compare with what the cores would do if they did nothing but decode and run the model."""
    from clip_search import images
    from clip_search.encoder import get_encoder

    encoder: Any = get_encoder()
    texts, paths = contents()
    pixels: list[Any] = []
    decode = core_seconds(lambda: pixels.extend(images.shrink(p.read_bytes(), encoder.image_size) for p in paths))
    see = core_seconds(lambda: encoder.embed_images(pixels))
    read = core_seconds(lambda: [encoder.embed_texts(texts[at : at + 128]) for at in range(0, len(texts), 128)])
    ideal = (decode + see + read) / cores()
    each = " + ".join(f"{name} {1000 * spent / count:.1f}" for name, spent in (("decode", decode), ("image", see), ("text", read)))
    yield Row(
        figure="the same against perfect overlap",
        value=f"{count / median(ours):.1f}/s",
        baseline=f"{count / ideal:.1f}/s",
        ratio=ideal / median(ours),
        floor=0.9,
        note=f"Core-milliseconds a product: {each}, over {cores()} cores.",
    )
    device, dtype = encoder._placement
    alone = min(in_turn(2, lambda: encoder.embed_images(pixels[: 4 * BATCH]))[0])
    limit = matrix_products(device, dtype)
    yield Row(
        figure="(c) image model alone, against (d) its matrix products",
        value=f"{min(count, 4 * BATCH) / alone:.1f}/s",
        baseline=f"{limit / FLOPS_AN_IMAGE:.1f}/s",
        ratio=min(count, 4 * BATCH) / alone / (limit / FLOPS_AN_IMAGE),
        note=f"{str(dtype).removeprefix('torch.')}: {limit / 1e9:.0f} GFLOP/s in a product of the model's shape.",
    )


def gpu(bench: Bench, count: int) -> Row:
    """Compare the bulk run with decoding alone, on all cores."""
    from concurrent.futures import ThreadPoolExecutor

    from clip_search import images

    _, paths = contents()

    def decode() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda path: images.shrink(path.read_bytes(), 224), paths))

    runs, decodes = in_turn(bench.sizes.rounds, reindex, decode)
    return Row(
        figure="GPU: images a second, against decoding alone on all cores",
        value=f"{count / median(runs):.0f}/s",
        baseline=f"{count / median(decodes):.0f}/s",
        ratio=ratio(decodes, runs),
    )
