"""Measure what a process holds in memory: `python -m tests.benchmarks.towers [--json] [--precision float32]`.

One process searches by words alone, another one by words and by a photo; both with a CLIP ViT-B/32 of random
weights, 151 million parameters. The figure is the resident memory (VmRSS) of each after its searches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
AT_LEAST = 150
"""Megabytes that a process saves which never sees a photo."""


def search(model: str, precision: str, photo: bool) -> None:
    """Search as a web process does, then say what it holds, in MB."""
    import django
    from django.conf import settings

    settings.configure(
        CLIP_SEARCH={"QDRANT": {"path": "unused"}, "MODEL": model, "PRECISION": precision},
        INSTALLED_APPS=[],
        USE_TZ=True,
    )
    django.setup()
    from clip_search.encoders import get_encoder

    encoder = get_encoder()
    for text in ("red mug", "a lamp for the garden"):
        encoder.embed_texts([text])
    if photo:
        import numpy as np

        encoder.embed_images([np.zeros((encoder.image_size, encoder.image_size, 3), np.uint8)])
    print(resident())


def resident() -> float:
    """Return this process's resident memory in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def held(model: Path, precision: str, *options: str) -> float:
    """Return what a process of its own holds, in MB."""
    command = [sys.executable, "-m", __spec__.name, "--model", str(model), "--precision", precision, *options]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--photo", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model:
        search(options.model, options.precision, options.photo)
        return
    from tests.samples.clip_models import save_full_size

    with tempfile.TemporaryDirectory() as folder:
        model = save_full_size(Path(folder) / "model")
        words, both = (held(model, options.precision, *extra) for extra in ((), ("--photo",)))
    found = {"words only": words, "words and photos": both, "saved": both - words, "at least": AT_LEAST}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:17} {value:6.0f} MB")


if __name__ == "__main__":
    main()
