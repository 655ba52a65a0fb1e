"""Compare ways to decode a photo: `python -m tests.benchmarks.decoding [--seconds 5]`.

A way is `images.shrink()` with something exchanged. For each, this prints the core-milliseconds a photo of
1000 × 1000 pixels on one thread, how many of them hold Python's lock, and the cosine of the vectors to those
of whole JPEGs, which are decoded in full size and resized in one step, as CLIP's own processor does.

Ways take turns, and times are medians. The lock is sampled with py-spy, if it is installed, and simplejpeg is
measured if it is.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from . import shop

SIDES = (1000, 1600, 900, 700, 640, 1200, 800, 2000, 580, 1440)
DRAWN = 120
"""Photos of products that the demo's model embeds: every second one with grain, of all `SIDES`."""
FEW = 20
"""Photos that the ViT-B/32 embeds, which takes a tenth of a second for each."""
SIZE = 224
ROUNDS = 8
LOCK_ROUNDS = 3
SAMPLES = 200
"""A second."""
WHOLE = "whole, resized in one step"

Change = tuple[object, str, object]


def ways() -> dict[str, list[Change]]:
    """Return what is exchanged for each way: owner, attribute, value."""
    from PIL import Image, ImageFile, JpegImagePlugin

    from clip_search import images

    resize, kinds = Image.Image.resize, Image.Resampling

    def resized_by(kind: Image.Resampling) -> list[Change]:
        def resized(image: Any, size: Any, resample: Any = None, **options: Any) -> Any:
            return resize(image, size, kind, **options)

        return [one_step, (Image.Image, "resize", resized)]

    one_step = (images, "REDUCING_GAP", None)
    found = {
        WHOLE: [one_step, (JpegImagePlugin.JpegImageFile, "draft", lambda *_: None)],
        "drafted, resized in one step": [one_step],
        "drafted, averaged, resized: as it is": [],
        "drafted to 1.5 times the size": [(images, "DRAFT_FACTOR", 1.5)],
        "drafted to the size": [(images, "DRAFT_FACTOR", 1)],
        "drafted, resized by Hamming": resized_by(kinds.HAMMING),
        "drafted, resized by bilinear": resized_by(kinds.BILINEAR),
        "drafted, resized by box": resized_by(kinds.BOX),
        "as it is, fed in one piece": [(ImageFile, "MAXBLOCK", 1 << 24)],
    }
    if find_spec("simplejpeg"):
        found["simplejpeg, averaged, resized"] = [(images, "shrink", by_simplejpeg)]
    return found


def by_simplejpeg(data: bytes, size: int) -> Any:
    """Do what `images.shrink()` does for an upright JPEG in RGB, without rules for damaged files."""
    import numpy as np
    import simplejpeg
    from PIL import Image

    from clip_search import image_files, images

    file, least = image_files.inspect(data), images.DRAFT_FACTOR * size
    with images._opened(file) as image:  # its format, size, orientation and colour profile
        pixels = simplejpeg.decode_jpeg(file.data, "RGB", min_height=least, min_width=least, min_factor=1)
        assert images._orientation(image) == 1
    return np.asarray(images._small(Image.fromarray(pixels), size, rounded=True))


def shrunk(way: Sequence[Change], photos: Sequence[bytes], size: int = SIZE) -> Iterator[Any]:
    """Yield the pixels of each photo."""
    from clip_search import images

    with ExitStack() as stack:
        for change in way:
            stack.enter_context(patch.object(*change))
        for photo in photos:
            yield images.shrink(photo, size)


def core_ms(photos: Sequence[bytes]) -> dict[str, float]:
    """Return the core-milliseconds that each way takes for a photo."""
    found: dict[str, list[float]] = {name: [] for name in ways()}
    for number in range(ROUNDS + 1):
        for name, way in ways().items():
            started = time.thread_time()
            for _ in shrunk(way, photos):
                took, started = time.thread_time() - started, time.thread_time()
                if number:
                    found[name].append(1000 * took)
    return {name: median(times) for name, times in found.items()}


def locked_share(name: str, seconds: int) -> float | None:
    """Return how much of the time of a way holds Python's lock. None without py-spy."""
    sampler = shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not sampler:
        return None
    command = [sys.executable, "-m", "tests.benchmarks.decoding", "--way", name]
    with (
        tempfile.NamedTemporaryFile("r") as samples,
        subprocess.Popen(command, cwd=shop.ROOT, stdout=subprocess.PIPE, text=True) as child,
    ):
        try:
            assert child.stdout and child.stdout.readline() == "ready\n"
            options = ["--gil", "-r", SAMPLES, "-d", seconds, "-f", "raw", "-o", samples.name]
            words = map(str, [sampler, "record", *options, "--pid", child.pid])
            subprocess.run(list(words), check=True, capture_output=True)
            return sum(int(line.rsplit(" ", 1)[1]) for line in samples) / (SAMPLES * seconds)
        finally:
            child.kill()


def repeat(name: str) -> None:
    """Decode photos by this way until the process is killed."""
    way, photos = ways()[name], shop.photos(shop.CACHE, "square")
    for _ in shrunk(way, photos):
        pass
    print("ready", flush=True)
    while True:
        for _ in shrunk(way, photos):
            pass


def drawn(count: int) -> list[bytes]:
    """Return photos of products, evenly chosen from all kinds and colours."""
    import numpy as np
    from PIL import Image

    from tests.samples import heldout_drawings

    rng, found = np.random.default_rng(0), []
    looks = list(product(heldout_drawings.ICONS, heldout_drawings.PALETTE))
    for number in range(count):
        side = SIDES[number // 2 % len(SIDES)]
        kind, colour = looks[number * len(looks) // count]
        picture = heldout_drawings.render(kind, colour, "plain", seed=number).convert("RGB")
        pixels = np.asarray(picture.resize((side, side)))
        if number % 2:
            pixels = (pixels + rng.normal(0, 14, (side, side, 1))).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


def cosines(model: Path, photos: Sequence[bytes]) -> dict[str, tuple[float, float]]:
    """Return the mean and the lowest cosine of each way's vectors to those of whole JPEGs."""
    from django.conf import settings

    from clip_search.encoders.clip import ClipEncoder

    settings.CLIP_SEARCH |= {"MODEL": str(model)}
    encoder = ClipEncoder()
    vectors = {
        name: encoder.embed_images(list(shrunk(way, photos, encoder.image_size)))
        for name, way in ways().items()
    }
    near = {name: (found * vectors[WHOLE]).sum(axis=1) for name, found in vectors.items()}
    return {name: (float(found.mean()), float(found.min())) for name, found in near.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5, help="of sampling the lock, each time")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import django
    from django.conf import settings

    sys.path.insert(0, str(shop.ROOT / "example_project"))
    chosen = {"QDRANT": {"path": "unused"}, "PRECISION": "float32"}
    settings.configure(CLIP_SEARCH=chosen, INSTALLED_APPS=[], USE_TZ=True)
    django.setup()
    shop.CACHE.mkdir(exist_ok=True)
    if options.way:
        repeat(options.way)
    times = core_ms(shop.photos(shop.CACHE, "square"))
    samples = [{name: locked_share(name, options.seconds) for name in times} for _ in range(LOCK_ROUNDS)]
    demo = cosines(shop.DEMO_MODEL, drawn(DRAWN))
    full_size = cosines(shop.full_size_model(), drawn(FEW))
    print(f"{'':38}core-ms  locked  cosine, demo's model  the same, ViT-B/32")
    print(f"{'':55}{'mean, lowest':>20}{'mean, lowest':>20}")
    for name, took in times.items():
        shares = [sample[name] for sample in samples]
        held = "-" if None in shares else f"{took * median(shares):.2f}"
        near = "".join(f"{mean:>12.5f} {lowest:.5f}" for mean, lowest in (demo[name], full_size[name]))
        print(f"{name:38}{took:7.2f}{held:>8}{near}")


if __name__ == "__main__":
    main()
