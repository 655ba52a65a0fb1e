"""`clip_reindex` end to end, models loaded: against a plain loop and against perfect overlap."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage
from django.core.management import call_command
from django.test import override_settings

from . import shop
from .baselines import BATCH, FLOPS_AN_IMAGE, loop, matrix_products
from .shop import Bench
from .table import Row, core_seconds, cores, cpu_flags, in_turn, ratio, seconds, seconds_alone

OLD_SERVICE = 3.6
"""Products a second, as its report says."""
SECONDS_AWAY = 0.05


class RemoteStorage(Storage):
    """The media folder as if it were SECONDS_AWAY: the time until the first byte comes."""

    def _open(self, name: str, mode: str) -> File[bytes]:
        time.sleep(SECONDS_AWAY)
        return File((Path(settings.MEDIA_ROOT) / name).open("rb"))


def rows(bench: Bench) -> Iterator[Row]:
    count = bench.sizes.bulk
    plain, ours = compared(bench, "square", count)
    yield against_the_loop("bulk, 1000 × 1000 JPEGs", count, plain, ours, 5 if amx() else 1.5)
    yield from overlap(bench, count)
    rate = count / median(ours)
    yield Row(
        figure="bulk, images a second against the old service",
        value=f"{rate:.1f}/s",
        baseline=f"{OLD_SERVICE}/s",
        ratio=rate / OLD_SERVICE,
        floor=15 if amx() else None,
        note="" if amx() else "The floor of 15 is for two cores with AMX, which this CPU has not.",
    )
    yield remote(bench, bench.sizes.remote)
    count = bench.sizes.mixed
    plain, ours = compared(bench, "mixed", count)
    yield against_the_loop("bulk, JPEGs of 400 to 3000 pixels", count, plain, ours, 5)
    if bench.device == "cuda":
        yield gpu(bench, count)


def amx() -> bool:
    return "amx_bf16" in cpu_flags()


def compared(bench: Bench, kind: str, count: int) -> tuple[list[float], list[float]]:
    """Return the seconds, round by round, of baseline (b) and of clip_reindex over the same products."""
    from clip_search.encoders import get_encoder

    shop.empty()
    shop.stock(count, kind)
    plain = loop(bench.model, bench.folder / "loop", bench.device)
    texts, paths = contents()
    get_encoder().warm_up()
    plain.images([paths[0].read_bytes()])
    works = (lambda: plain.in_batches(texts, paths), reindex)
    loops, runs = in_turn(bench.sizes.rounds, *works, timed=seconds_alone, before=nothing_indexed)
    return loops, runs


def contents() -> tuple[list[str], list[Path]]:
    """Return the products' texts and the paths of their photos."""
    from tests.shops.shop.models import Product

    found = Product.objects.prefetch_related("images").order_by("pk")
    pairs = [(f"{p.name}. {p.description}", [i.original.name for i in p.images.all()]) for p in found]
    return [text for text, _ in pairs], [Path(settings.MEDIA_ROOT) / names[0] for _, names in pairs if names]


def nothing_indexed() -> None:
    """Empty the index; what it is written to is there already, as the store of a baseline is."""
    from clip_search.documents.registry import registry
    from clip_search.indexing.targets import get_target

    shop.forget()
    document = registry.get("product")
    assert document
    get_target(document)


def reindex() -> None:
    """Run `clip_reindex` over a shop of which nothing is indexed."""
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


def overlap(bench: Bench, count: int) -> Iterator[Row]:
    """Compare with what the cores would do if they did nothing but decode and run the model."""
    from clip_search.encoders import get_encoder
    from clip_search.images import shrink

    encoder: Any = get_encoder()
    texts, paths = contents()
    pixels = [shrink(path.read_bytes(), encoder.image_size) for path in paths]
    alone = {
        "decode": lambda: [shrink(path.read_bytes(), encoder.image_size) for path in paths],
        "image": lambda: encoder.embed_images(pixels),
        "text": lambda: [encoder.embed_texts(texts[at : at + 128]) for at in range(0, len(texts), 128)],
    }
    rounds = [core_milliseconds(count, **alone, all=reindex) for _ in range(bench.sizes.rounds)]
    each = {name: median(found[name][0] for found in rounds) for name in alone}
    had = median(found["all"][1] for found in rounds)
    ideal = [sum(found[name][0] for name in alone) for found in rounds]
    yield Row(
        figure="the same against perfect overlap, in core-milliseconds a product",
        value=f"{had:.1f}",
        baseline=f"{median(ideal):.1f}",
        ratio=median(best / found["all"][1] for best, found in zip(ideal, rounds, strict=True)),
        floor=0.9,
        note=f"Alone: {', '.join(f'{name} {spent:.1f}' for name, spent in each.items())}. The run used "
        f"{median(found['all'][0] for found in rounds):.1f} of the {had:.1f} that it could have had.",
    )
    yield model_alone(encoder, pixels[: 4 * BATCH])


def core_milliseconds(count: int, **works: Callable[[], object]) -> dict[str, list[float]]:
    """Return, by name, the core-milliseconds a product that were used and that were to be had."""
    found = {}
    for name, work in works.items():
        nothing_indexed()
        with core_seconds() as spent:
            work()
        found[name] = [1000 * value / count for value in spent]
    return found


def remote(bench: Bench, count: int) -> Row:
    """Compare photos that are waited for with those on the disk."""
    shop.empty()
    shop.stock(count, "square")

    def reindex_remote() -> None:
        with override_settings(
            STORAGES=settings.STORAGES | {"default": {"BACKEND": f"{__name__}.RemoteStorage"}}
        ):
            reindex()

    disk, away = in_turn(bench.sizes.rounds, reindex, reindex_remote, before=nothing_indexed)
    return Row(
        figure=f"bulk, photos from a storage {1000 * SECONDS_AWAY:.0f} ms away, against those on the disk",
        value=f"{count / median(away):.1f}/s",
        baseline=f"{count / median(disk):.1f}/s",
        ratio=ratio(disk, away),
    )


def model_alone(encoder: Any, pixels: Sequence[Any]) -> Row:
    device, dtype = encoder._placement
    rate = len(pixels) / min(seconds(lambda: encoder.embed_images(pixels)) for _ in range(2))
    limit, name = matrix_products(device, dtype), str(dtype).removeprefix("torch.")
    return Row(
        figure="(c) image model alone, against (d) its matrix products",
        value=f"{rate:.1f}/s",
        baseline=f"{limit / FLOPS_AN_IMAGE:.1f}/s",
        ratio=rate * FLOPS_AN_IMAGE / limit,
        note=f"{limit / 1e9:.0f} GFLOP/s in a {name} product of the model's shape.",
    )


def gpu(bench: Bench, count: int) -> Row:
    """Compare the bulk run with decoding alone, on all cores."""
    from concurrent.futures import ThreadPoolExecutor

    from clip_search.encoders import get_encoder
    from clip_search.images import shrink

    _, paths = contents()
    size = get_encoder().image_size

    def decode() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda path: shrink(path.read_bytes(), size), paths))

    runs, decodes = in_turn(bench.sizes.rounds, reindex, decode, before=nothing_indexed)
    return Row(
        figure="GPU: images a second, against decoding alone on all cores",
        value=f"{count / median(runs):.0f}/s",
        baseline=f"{count / median(decodes):.0f}/s",
        ratio=ratio(decodes, runs),
    )
