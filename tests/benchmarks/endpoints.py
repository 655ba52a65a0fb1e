"""The endpoints over HTTP: how soon they answer, and how soon a posted product is searchable."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from . import shop
from .baselines import loop
from .bulk import OLD_SERVICE
from .shop import Bench
from .table import Row, percentile, seconds

WORKERS = 3
PATIENCE = 600.0
USER = ("bench", "bench")


def rows(bench: Bench) -> Iterator[Row]:
    shop.empty()
    most = max(bench.sizes.requests)
    names = shop.files_of(shop_media(), "square", most)
    files = [shop_media() / name for name in names]
    make_user()
    with server(bench) as client:
        yield answers(client, files[: bench.sizes.saves // 4])
        rate = old_way(bench, files)
        for count in bench.sizes.requests:
            with workers(bench, WORKERS):
                spent, took = posted(client, files[:count])
            before, rate = rate, old_way(bench, files)
            yield against_the_old_way(spent, took, (before + rate) / 2, 4 if count == most else None)


def shop_media() -> Path:
    from django.conf import settings

    return Path(settings.MEDIA_ROOT)


def make_user() -> None:
    from django.contrib.auth.models import User

    if not User.objects.filter(username=USER[0]).exists():
        User.objects.create_user(*(USER[0], "", USER[1]), is_staff=True)


@contextmanager
def server(
    bench: Bench,
    name: str = "main",
    application: str = "django.core.wsgi:get_wsgi_application()",
    threads: int = 4,
    **options: Any,
) -> Iterator[Any]:
    """Have gunicorn serve the shop of this name, one process, and return a client of it."""
    import httpx

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = ["-m", "gunicorn", application, "--threads", str(threads)]
    line += ["--bind", f"127.0.0.1:{port}", "--log-level", "error"]
    with (
        bench.running(name, *line, **options),
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/", auth=USER, timeout=120) as client,
    ):
        deadline = time.monotonic() + 60
        while True:
            try:
                client.get("index-jobs/none")
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.1)
            else:
                yield client
                return


@contextmanager
def workers(bench: Bench, count: int) -> Iterator[None]:
    """Have so many workers run, each with its model loaded."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(
                bench.running("main", "tests/manage.py", "rqworker", "default", "--verbosity", "0")
            )
        deadline = time.monotonic() + 120
        while worker_count() < count:
            assert time.monotonic() < deadline, f"the workers did not start: {bench.log('main').read_text()}"
            time.sleep(0.1)
        yield


def worker_count() -> int:
    import django_rq
    from rq import Worker

    return Worker.count(queue=django_rq.get_queue("default"))


def post(client: Any, number: int, file: Path) -> float:
    """Post a product with its photo to the asynchronous endpoint; return the seconds to its answer."""
    name, description = shop.text(number)
    data = {"product_id": f"posted-{number}", "name": name, "description": description}
    content = {"image_file": (file.name, file.read_bytes(), "image/jpeg")}
    started = time.perf_counter()
    answer = client.post("index-product-with-image", data=data, files=content)
    took = time.perf_counter() - started
    assert answer.status_code == 202, answer.text
    return took


def post_text(client: Any, number: int) -> float:
    """Post a product to the synchronous endpoint, which embeds it; return the seconds to its answer."""
    name, description = shop.text(number)
    data = {"product_id": f"text-{number}", "name": name, "description": description}
    started = time.perf_counter()
    answer = client.post("index-product", data=data)
    took = time.perf_counter() - started
    assert answer.status_code == 200, answer.text
    return took


def answers(client: Any, files: Sequence[Path]) -> Row:
    """Compare the endpoints' times to answer, in turn."""
    post_text(client, 0)  # loads the model
    post(client, 0, files[0])
    both = [(post(client, n, file), post_text(client, n)) for n, file in enumerate(files, 1)]
    quick, slow = ([pair[side] for pair in both] for side in (0, 1))
    said = [
        f"p50 {1000 * median(took):.1f}, p95 {1000 * percentile(took, 0.95):.1f} ms" for took in (quick, slow)
    ]
    return Row(
        figure="async endpoint with a 300 kB JPEG, against the sync endpoint",
        value=said[0],
        baseline=said[1],
        ratio=median(slow) / median(quick),
        floor=10,
    )


def old_way(bench: Bench, files: Sequence[Path]) -> float:
    """Return the products a second of baseline (a)."""
    count = bench.sizes.old_way
    plain = loop(bench.model, bench.folder / "loop", bench.device)
    texts = [". ".join(shop.text(number)) for number in range(count)]
    plain.one_by_one(texts[:1], files[:1])
    return count / seconds(lambda: plain.one_by_one(texts, files[:count]))


def posted(client: Any, files: Sequence[Path]) -> tuple[float, list[float]]:
    """Post products while workers run. Returns the seconds until all are searchable, and to each answer."""
    from clip_search.models import IndexEntry

    for entry in IndexEntry.objects.filter(source="posted").values_list("product_id", flat=True):
        client.delete(f"products/{entry}")
    waiting = IndexEntry.objects.filter(state=IndexEntry.State.PENDING)
    settle(waiting)
    started = time.perf_counter()
    took = [post(client, number, file) for number, file in enumerate(files)]
    settle(waiting)
    spent = time.perf_counter() - started
    assert not IndexEntry.objects.filter(state=IndexEntry.State.FAILED).exists()
    return spent, took


def against_the_old_way(spent: float, took: Sequence[float], old_rate: float, floor: float | None) -> Row:
    """Compare with baseline (a) as it was just before and just after."""
    count = len(took)
    return Row(
        figure=f"{count:,} products through the async endpoint and {WORKERS} workers, against (a)",
        value=f"{spent:.1f} s",
        baseline=f"{count / old_rate:.1f} s",
        ratio=count / old_rate / spent,
        floor=floor,
        note=f"Answers: p50 {1000 * median(took):.1f} ms, p95 {1000 * percentile(took, 0.95):.1f} ms. "
        f"The old service's {OLD_SERVICE} products a second come to {count / OLD_SERVICE:.1f} s.",
    )


def settle(waiting: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while waiting.exists():
        assert time.monotonic() < deadline, "the workers did not finish"
        time.sleep(0.02)
