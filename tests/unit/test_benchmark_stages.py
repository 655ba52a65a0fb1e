"""The benchmark of the stages measures what it says."""

from __future__ import annotations

import itertools
from pkgutil import resolve_name

import numpy as np
import pytest

from tests.benchmarks import nights, stages, stopwatch
from tests.benchmarks.fake_encoder import FakeEncoder


@pytest.mark.parametrize(
    "name", [name for topic in (stages, nights) for names in topic.STAGES.values() for name in names]
)
def test_every_measured_function_exists(name):
    assert callable(resolve_name(name))


def test_a_stage_is_counted_without_the_stages_within_it(monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(stopwatch, "thread_time", lambda: next(seconds))  # one second for each look
    watch = stopwatch.Stopwatch({})
    resize = watch.timed("resize", lambda: "small")
    decode = watch.timed("decode", lambda: [resize(), resize()])
    records = watch.timed("records", lambda: decode())

    assert [records(), decode()] == [["small", "small"]] * 2

    # 1 + 1 in the two calls of `resize`, 5 in all of `decode`, 7 in all of `records`
    assert watch.spent == {"resize": 4, "decode": 3 * 2, "records": 2}


def test_the_vectors_of_the_fake_encoder_depend_on_the_content():
    encoder = FakeEncoder()
    pixels = np.zeros((3, encoder.image_size, encoder.image_size, 3), np.uint8)
    pixels[1, 100:] = 200

    images, texts = encoder.embed_images(list(pixels)), encoder.embed_texts(["mug", "chair", "mug"])

    for first, other, same in (images, texts):
        assert (first == same).all()
        assert first @ other < 0.99
    for vectors in (images, texts):
        assert (vectors.shape, vectors.dtype) == ((3, encoder.dimension), np.float32)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
