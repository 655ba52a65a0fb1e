"""Chooses the device and the precision with which a model computes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..exceptions import ModelUnavailable

if TYPE_CHECKING:
    import torch

PRECISIONS: Final = ("float32", "bfloat16", "float16")
BFLOAT16_FLAGS: Final = {"amx_bf16", "avx512_bf16"}
"""A CPU with one of these flags computes faster in bfloat16 than in float32; others are much slower."""


def place(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    """Return (device, precision) of torch for the settings DEVICE and PRECISION.

    Raises ModelUnavailable if this machine or torch does not have them.
    """
    import torch

    on_cuda, on_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if on_cuda else "mps" if on_mps else "cpu"
    kind, _, number = device.partition(":")
    on_cuda = on_cuda and (not number or number in map(str, range(torch.cuda.device_count())))
    if not {"cpu": True, "cuda": on_cuda, "mps": on_mps}.get(kind):
        raise ModelUnavailable(
            f'CLIP_SEARCH["DEVICE"] = {device!r} is not available. Set it to "auto" or "cpu".'
        )
    if precision == "auto":
        fast_bfloat16 = kind == "cpu" and cpu_has_bfloat16()
        precision = "float16" if kind == "cuda" else "bfloat16" if fast_bfloat16 else "float32"
    if precision not in PRECISIONS:
        raise ModelUnavailable(
            f'CLIP_SEARCH["PRECISION"] = {precision!r} is not "auto" or one of {PRECISIONS}.'
        )
    return torch.device(device), getattr(torch, precision)


@lru_cache(maxsize=1)
def cpu_has_bfloat16() -> bool:
    """Return whether this CPU computes faster in bfloat16 than in float32 (it has AMX or AVX512-BF16)."""
    try:
        return not BFLOAT16_FLAGS.isdisjoint(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
