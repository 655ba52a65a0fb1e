"""Which parts of a model are loaded, in which precision."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clip_search.encoders.placement import cpu_has_bfloat16

from .reference import LAYOUTS

pytestmark = pytest.mark.model


def parameters(tower) -> set[str]:
    return {name.split(".")[2] for name, _ in tower.named_parameters()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_embedding_texts_keeps_no_vision_tower(layout, make):
    encoder = make(layout)

    encoder.warm_up(images=False)

    assert "_image_tower" not in vars(encoder)
    assert parameters(encoder._text_tower) == {"text_model", "text_projection", "logit_scale"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_warming_up_loads_each_tower_once_and_whole(layout, make):
    encoder = make(layout)

    encoder.warm_up()

    assert "_image_tower" in vars(encoder)
    assert parameters(encoder._image_tower.model) == {"vision_model", "visual_projection", "logit_scale"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_precision_is_what_was_asked_for_whatever_the_files_were_saved_in(
    precision, make, models, tmp_path
):
    from transformers import CLIPModel

    folder = tmp_path / "half"
    shutil.copytree(models["plain"], folder)
    CLIPModel.from_pretrained(folder).half().save_pretrained(folder)

    encoder = make(folder, precision=precision)

    assert str(encoder._text_tower.dtype) == f"torch.{precision}"
    assert str(encoder._image_tower.model.dtype) == f"torch.{precision}"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx2 avx512f amx_bf16", "bfloat16"), ("avx512_bf16", "bfloat16"), ("avx2 avx512f", "float32")],
)
def test_automatic_precision_on_a_cpu_follows_what_the_cpu_can(flags, expected, make, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda self: f"processor : 0\nflags : fpu {flags} sse\n")
    cpu_has_bfloat16.cache_clear()
    try:
        assert str(make(precision="auto")._placement[1]) == f"torch.{expected}"
    finally:
        cpu_has_bfloat16.cache_clear()


def test_without_cpuinfo_precision_is_float32(make, monkeypatch):
    def missing(self):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    cpu_has_bfloat16.cache_clear()
    try:
        assert str(make(precision="auto")._placement[1]) == "torch.float32"
    finally:
        cpu_has_bfloat16.cache_clear()


def test_on_cuda_it_is_float16_in_large_batches(make, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    encoder = make(precision="auto", DEVICE="auto")

    assert [str(part) for part in encoder._placement] == ["cuda", "torch.float16"]
    assert encoder.batch_size == 128
