"""Batches that do not fit into the memory of a GPU are halved."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from clip_search.exceptions import BackendUnavailable
from tests.samples.clip_models import IMAGE_SIZE

from .reference import cosines

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

CHANCE = np.random.default_rng(7)
IMAGES = list(CHANCE.integers(0, 256, (50, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))
TEXTS = [f"{'very ' * (number % 7)}red mug {number}" for number in range(50)]
MESSAGE = "CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has a total capacity of 8 GiB."
CASES = [("embed_texts", TEXTS, "_text_tower"), ("embed_images", IMAGES, "_image_tower")]
ERRORS = [
    torch.OutOfMemoryError(MESSAGE),
    RuntimeError(MESSAGE),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


class StandInForACard:
    """Lets a model on the CPU fail like one on a GPU whose memory holds a batch of at most `fits` rows."""

    def __init__(self, encoder, tower: str, fits: int, error: Exception = ERRORS[0]) -> None:
        self.fits, self.error = fits, error
        self.batches: list[int] = []
        model = getattr(encoder, tower)
        module = model[0] if tower == "_text_tower" else model.model[0]
        module.register_forward_pre_hook(self.check)

    def check(self, module, args) -> None:
        (features,) = args
        rows = len(features.get("input_ids", features.get("pixel_values")))
        self.batches.append(rows)
        if rows > self.fits:
            raise self.error


def warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "clip_search.encoders.gpu_memory"]


@pytest.mark.parametrize("error", ERRORS, ids=["OutOfMemoryError", "RuntimeError", "cuBLAS"])
@pytest.mark.parametrize(("method", "inputs", "tower"), CASES)
def test_a_batch_that_does_not_fit_is_halved(method, inputs, tower, error, make, one_thread, caplog):
    expected = getattr(make(BATCH_SIZE=8), method)(inputs)
    encoder = make(BATCH_SIZE=32)
    card = StandInForACard(encoder, tower, 10, error)

    found = getattr(encoder, method)(inputs)

    assert np.allclose(found, expected, atol=1e-5)  # each vector belongs to its input
    assert cosines(found[:1], found[1:]).max() < 0.99999
    assert card.batches == [25, 12, *[6] * 4, 1, *[6] * 4, 1]
    assert encoder.batch_size == 6  # `BATCH_SIZE` of the smaller batches
    (message,) = warnings(caplog)
    assert message == (
        "A batch did not fit into the memory of the GPU, so batches are smaller until this process ends. "
        "To avoid this, set BATCH_SIZE to the new size "
        "size=6 before=32"
    )
    assert caplog.records[0].levelno == logging.WARNING


def test_the_process_keeps_to_the_size_that_fits(make, one_thread, caplog):
    encoder = make(BATCH_SIZE=32)
    card = StandInForACard(encoder, "_image_tower", 16)
    encoder.embed_images(IMAGES)
    card.batches.clear()

    encoder.embed_images(IMAGES)
    encoder.embed_texts(TEXTS)

    assert max(card.batches) <= 16
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(("method", "inputs", "tower"), CASES)
def test_a_single_input_that_does_not_fit_is_an_error_with_a_remedy(
    method, inputs, tower, make, one_thread, caplog
):
    encoder = make(BATCH_SIZE=32)
    card = StandInForACard(encoder, tower, 0)

    with pytest.raises(BackendUnavailable, match="CUDA out of memory") as raised:
        getattr(encoder, method)(inputs)

    assert card.batches == [25, 12, 6, 3, 1]
    assert "Stop other processes that use this GPU, or set DEVICE" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert warnings(caplog) == []
    card.fits = 50
    assert len(getattr(encoder, method)(inputs)) == 50  # the memory is free again


def test_batches_in_several_threads_are_halved_too(make, caplog):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        expected = make(BATCH_SIZE=8).embed_images(IMAGES)
        encoder = make(BATCH_SIZE=32)
        StandInForACard(encoder, "_image_tower", 10)
        assert np.allclose(encoder.embed_images(IMAGES), expected, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_other_errors_of_the_model_are_raised_at_once(make, one_thread):
    encoder = make(BATCH_SIZE=32)
    card = StandInForACard(encoder, "_image_tower", 10, RuntimeError("a bug"))

    with pytest.raises(RuntimeError, match="a bug"):
        encoder.embed_images(IMAGES)

    assert card.batches == [25]
    assert encoder.batch_size == 32


def test_the_tensors_of_a_failed_batch_are_freed_before_the_next_try(make, one_thread, monkeypatch):
    class Tensors:
        """Stands for the tensors of a batch, which a frame of the failed call refers to."""

        alive = 0

        def __init__(self) -> None:
            Tensors.alive += 1

        def __del__(self) -> None:
            Tensors.alive -= 1

    def embed(part):
        _tensors = Tensors()
        if len(part) > 10:
            raise torch.OutOfMemoryError(MESSAGE)
        return np.zeros((len(part), 4), np.float32)

    alive_when_emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive_when_emptied.append(Tensors.alive))

    assert make(BATCH_SIZE=32)._in_batches(embed, np.arange(50)).shape == (50, 4)

    assert alive_when_emptied == [0, 0]


@pytest.mark.parametrize("method", ["embed_texts", "embed_images"])
def test_a_model_that_does_not_fit_names_what_to_free(method, make, monkeypatch):
    move = torch.nn.Module.to

    def full(module, *args, **kwargs):
        if "dtype" in kwargs:  # the move to the GPU, when the files are read
            raise torch.OutOfMemoryError(MESSAGE)
        return move(module, *args, **kwargs)

    encoder = make()
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.Module, "to", full)
        with pytest.raises(BackendUnavailable, match="cannot be loaded: CUDA out of memory") as raised:
            getattr(encoder, method)({"embed_texts": TEXTS, "embed_images": IMAGES}[method])
    assert "Stop other processes that use this GPU" in str(raised.value)

    assert len(encoder.embed_texts(TEXTS)) == 50
    assert encoder._accelerates  # the accelerated model is not to blame
