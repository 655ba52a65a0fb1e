"""What a GPU does: how busy it is, how much of its memory is free, and what follows if it is full."""

from __future__ import annotations

import gc
import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..table import Row
from .run import Run

LEFT = 512 * 1024**2
"""Bytes that are left free on the GPU: enough for 128 images of a ViT-B/32 at once, but not for IMAGES."""
IMAGES = 2048
FIGURE = "a batch that does not fit into the GPU's memory: lowest cosine to those that fit"
LOGGER = "clip_search.encoders.gpu_memory"


def memory(run: Run) -> Iterator[Row]:
    """Embed more images at once than fit into what is left of the GPU's memory."""
    if run.on_gpu:
        yield halved(IMAGES, lambda encoder: filled(run.device))
    else:
        yield Row(figure=FIGURE, value="not tried", note="This needs a GPU: --device cuda.")


def halved(images: int, filling: Callable[[Any], AbstractContextManager[None]]) -> Row:
    """Embed images in one batch while the memory is full, and compare with batches of the usual size."""
    import numpy as np
    from django.conf import settings
    from django.test import override_settings

    from clip_search.encoders import get_encoder
    from clip_search.encoders.clip import ClipEncoder

    shape = (images, get_encoder().image_size, get_encoder().image_size, 3)
    pixels = list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    expected = get_encoder().embed_images(pixels)
    with override_settings(CLIP_SEARCH=settings.CLIP_SEARCH | {"BATCH_SIZE": len(pixels)}):
        encoder = ClipEncoder()
    encoder.warm_up()
    with filling(encoder), warnings(LOGGER) as logged:
        found = encoder.embed_images(pixels)
        again = encoder.embed_images(pixels[: encoder.batch_size + 1])
    size = encoder.batch_size
    lowest = min((found * expected).sum(axis=1).min(), (again * expected[: len(again)]).sum(axis=1).min())
    told = len(logged) == 1 and f"size={size} before={len(pixels)}" in logged[0]
    return Row(
        figure=FIGURE,
        value=f"{lowest:.6f}",
        baseline="1",
        ratio=float(lowest) if told and size < len(pixels) else 0,
        floor=0.999,
        note=f"Batches of {len(pixels)} images became batches of {size}. Logged, once expected: {logged}",
    )


@contextmanager
def filled(device: str) -> Iterator[None]:
    """Take the memory of the GPU while the block runs, all but LEFT bytes of it."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    taken = torch.empty(max(0, free - LEFT), dtype=torch.uint8, device=device)
    try:
        yield
    finally:
        del taken
        torch.cuda.empty_cache()


@contextmanager
def warnings(name: str) -> Iterator[list[str]]:
    """Collect what a logger warns of while the block runs."""
    logger, found = logging.getLogger(name), []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    level = logger.level
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def gpu_use(device: str) -> float | None:
    """Return for how many per cent of the last moment the GPU computed, or None if this is unknown."""
    if not device.startswith("cuda") or not shutil.which("nvidia-smi"):
        return None
    number = device.partition(":")[2] or "0"
    command = ["nvidia-smi", "-i", number, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, timeout=10).stdout)
    except (ValueError, OSError, subprocess.TimeoutExpired):
        return None


def free_megabytes(device: str) -> float | None:
    """Return how much of the GPU's memory no process uses, or None without a GPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return float(torch.cuda.mem_get_info(device)[0]) / 1024**2
