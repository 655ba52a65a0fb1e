"""What a save costs the shop, and how soon a saved product is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

from . import shop
from .endpoints import shop_media, workers
from .shop import Bench
from .table import Row, in_turn, percentile

PATIENCE = 30.0


def rows(bench: Bench) -> Iterator[Row]:
    shop.empty()
    shop.stock(bench.sizes.saves)
    yield from save_costs(bench)
    yield signal_to_searchable(bench)


def save_costs(bench: Bench) -> Iterator[Row]:
    """Compare save() in a transaction with the app and with its signals paused."""
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from clip_search.testing import pause_indexing
    from tests.shops.shop.models import Product

    todo = iter(list(Product.objects.all()) * 5)

    def save() -> None:
        with transaction.atomic():
            next(todo).save()

    def without() -> None:
        with pause_indexing():
            save()

    def statements(work: Callable[[], None]) -> int:
        with CaptureQueriesContext(connection) as seen:
            work()
        return len(seen)

    bare, full = statements(without), statements(save)
    paused, noted = (1000 * median(times) for times in in_turn(bench.sizes.saves, without, save))
    bare_busy, busy = (1000 * median(t) for t in in_turn(bench.sizes.saves, without, save, timed=own_seconds))
    yield more("save(): statements", f"{full}", f"{bare}", full - bare)
    yield more(
        "save(): milliseconds, the enqueue included",
        f"{noted:.2f}",
        f"{paused:.2f}",
        noted - paused,
        f"Of these, {busy - bare_busy:.2f} ms are this process's own; the rest waits for others.",
    )


def own_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def more(figure: str, value: str, baseline: str, difference: float, note: str = "") -> Row:
    return Row(
        figure=f"{figure}, against a save without the app (difference)",
        value=value,
        baseline=baseline,
        ratio=difference,
        floor=2,
        at_most=True,
        note=note,
    )


def signal_to_searchable(bench: Bench) -> Row:
    """Save products one by one, with a worker that is idle, and look when each is in the store."""
    from clip_search.encoders import get_encoder
    from clip_search.images import shrink

    shop.empty()
    encoder = get_encoder()
    encoder.warm_up()
    count = max(5, bench.sizes.saves // 8)
    names = shop.files_of(shop_media(), "square", count + 1)
    pixels = [shrink((shop_media() / names[0]).read_bytes(), encoder.image_size)]
    products = zip(names[1:], range(1, count + 1), strict=True)
    texts = iter([". ".join(shop.text(number))] for number in range(count + 1))
    with workers(bench, 1):
        index_one(names[0], 0)
        took, encodes = in_turn(
            count,
            lambda: index_one(*next(products)),
            lambda: (encoder.embed_texts(next(texts)), encoder.embed_images(pixels)),
        )
    p50, two = percentile(took, 0.5), median(encodes)
    return Row(
        figure="signal to searchable, an idle worker: p50, against its two encodes + 150 ms",
        value=f"{1000 * p50:.0f} ms",
        baseline=f"{1000 * (two + 0.15):.0f} ms",
        ratio=p50 / (two + 0.15),
        floor=1,
        at_most=True,
        note=f"p95 {1000 * percentile(took, 0.95):.0f} ms; the two encodes {1000 * two:.0f} ms.",
    )


def index_one(name: str, number: int) -> None:
    """Save a product with a photo in one transaction, and wait until it is searchable."""
    from django.db import transaction

    from clip_search.models import IndexEntry
    from tests.shops.shop.models import Category, ProductImage

    category, _ = Category.objects.get_or_create(name="Kitchen", slug="kitchen")
    started = time.perf_counter()
    with transaction.atomic():
        product = shop.product(number, category)
        product.save()
        ProductImage.objects.create(product=product, original=name)
    done = IndexEntry.objects.filter(product_id=str(product.pk), state=IndexEntry.State.INDEXED)
    while not done.exists():
        assert time.perf_counter() - started < PATIENCE, "no worker indexed it"
        time.sleep(0.002)
