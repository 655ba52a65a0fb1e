"""Damaged images: an error, or what is left of them."""

from __future__ import annotations

import io
import random

import pytest

from clip_search import images
from clip_search.exceptions import BadImage

from .pictures import FORMATS, NOT_IMAGES, SIZE, encoded, photo


@pytest.mark.parametrize("kind", NOT_IMAGES)
def test_what_is_no_image_cannot_be_shrunk(kind):
    with pytest.raises(BadImage):
        images.shrink(NOT_IMAGES[kind], SIZE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_truncated_image_is_refused(kind):
    data = FORMATS[kind]

    with pytest.raises(BadImage, match="The image is truncated, its end is missing"):
        images.shrink(data[: len(data) * 2 // 3], SIZE)


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_anywhere_it_is_read_or_refused_and_nothing_else(kind):
    data = encoded(photo(0, 60, 40), kind)
    refused = 0
    for end in range(0, len(data), 10):
        try:
            assert images.shrink(data[:end], SIZE).shape == (SIZE, SIZE, 3)
        except BadImage:
            refused += 1

    assert refused > len(data) // 10 * 0.6


@pytest.mark.parametrize("kind", FORMATS)
def test_with_any_bytes_changed_it_is_read_or_refused_and_nothing_else(kind):
    chance = random.Random(kind)
    data = encoded(photo(0, 40, 30), kind)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 8)):
            broken[chance.randrange(chance.choice([40, 300, len(broken)])) % len(broken)] = chance.randrange(
                256
            )
        for use in (images.check, lambda file: images.shrink(file.read(), SIZE)):
            try:
                use(io.BytesIO(broken))
            except BadImage as error:
                assert "0x" not in str(error)  # no addresses of objects
