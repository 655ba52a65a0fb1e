"""Checking uploads before they are stored."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from clip_search import images
from clip_search.exceptions import BadImage

from .pictures import FORMATS, NOT_IMAGES, RED, SIZE, encoded, halves, is_about, top_and_bottom


def zeros_png(width: int, height: int) -> bytes:
    """A black PNG of any dimensions, one bit a pixel, made without decoding it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(((width + 7) // 8 + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_check_tells_the_format_by_content_and_leaves_the_file_at_its_start(kind):
    source = io.BytesIO(FORMATS[kind])
    source.seek(5)

    assert images.check(source) == kind
    assert source.tell() == 0


@pytest.mark.parametrize("kind", NOT_IMAGES)
def test_check_refuses_what_is_no_image_and_names_what_is(kind):
    source = io.BytesIO(NOT_IMAGES[kind])

    with pytest.raises(BadImage, match=r"Upload one of JPEG, PNG, WEBP, GIF, AVIF|is truncated"):
        images.check(source)
    assert source.tell() == 0


@pytest.mark.parametrize("kind", ["text", "svg", "pdf", "eps", "heic", "bmp", "tiff"])
def test_other_kinds_of_files_are_told_what_is_allowed(kind):
    with pytest.raises(BadImage, match="Upload one of JPEG, PNG, WEBP, GIF, AVIF"):
        images.check(io.BytesIO(NOT_IMAGES[kind]))


def test_check_obeys_the_formats_that_are_set(clip_settings):
    clip_settings["IMAGE_FORMATS"] = ["PNG"]

    assert images.check(io.BytesIO(FORMATS["PNG"])) == "PNG"
    with pytest.raises(BadImage, match=r"Upload one of PNG\."):
        images.check(io.BytesIO(FORMATS["JPEG"]))
    with pytest.raises(BadImage, match=r"Upload one of PNG\."):
        images.shrink(FORMATS["JPEG"], SIZE)


def test_check_refuses_empty_and_too_large_files(clip_settings):
    clip_settings["MAX_IMAGE_BYTES"] = 50

    with pytest.raises(BadImage, match="empty"):
        images.check(io.BytesIO())
    with pytest.raises(BadImage, match="MAX_IMAGE_BYTES"):
        images.check(io.BytesIO(FORMATS["PNG"]))


def test_a_phones_picture_with_a_second_one_behind_it_is_a_jpeg():
    data = encoded(halves(), "MPO", save_all=True, append_images=[halves()])

    assert images.check(io.BytesIO(data)) == "JPEG"
    assert is_about(top_and_bottom(images.shrink(data, SIZE))[0], RED)


@pytest.mark.parametrize("use", [lambda d: images.check(io.BytesIO(d)), lambda d: images.shrink(d, SIZE)])
@pytest.mark.parametrize("size", [(20_000, 10_000), (7_000, 7_000), (5_000, 4_001), (12_000, 9_000)])
def test_too_many_pixels_are_refused_before_any_is_decoded(use: Callable, size, monkeypatch):
    data = zeros_png(*size)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))

    assert len(data) < 200_000
    with pytest.raises(BadImage, match=r'CLIP_SEARCH\["MAX_IMAGE_PIXELS"\] allows 20000000'):
        use(data)


def test_a_webp_counts_for_more_because_its_decoder_holds_more(clip_settings):
    clip_settings["MAX_IMAGE_PIXELS"] = 16_000
    small, large = (encoded(Image.new("RGB", (100, side)), "WEBP") for side in (100, 101))

    assert images.check(io.BytesIO(small)) == "WEBP"
    with pytest.raises(BadImage, match=r"100 × 101 pixels.*allows 10000 of a WEBP"):
        images.check(io.BytesIO(large))


def test_the_hosts_own_limit_is_left_alone_and_obeyed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    with pytest.raises(BadImage, match="too many pixels"):
        images.shrink(FORMATS["PNG"], SIZE)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
@pytest.mark.parametrize("use", [lambda d: images.check(io.BytesIO(d)), lambda d: images.shrink(d, SIZE)])
def test_an_image_of_one_pixel_is_refused(use: Callable, size):
    with pytest.raises(BadImage, match=f"{size[0]} × {size[1]} pixels: too small"):
        use(encoded(Image.new("RGB", size)))


def test_an_image_of_two_pixels_is_taken():
    assert images.shrink(encoded(Image.new("RGB", (2, 2), RED)), SIZE).tolist() == [[list(RED)] * SIZE] * SIZE
