"""Pictures that browsers show are read, in the colours that they show, or refused for the true cause."""

from __future__ import annotations

import base64
import io
import random
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from clip_search import colours, image_files, images
from clip_search.exceptions import BadImage
from tests.samples import browser_pictures as samples
from tests.samples.hostile_images import chunk, encoded, scene, with_bytes, with_chunk

SIZE = 32
PICTURES = dict(samples.pictures())
BITMAPS = dict(samples.bitmaps())
BLANK_AT_FIRST = dict(samples.blank_at_first())
NO_WARNING = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # which Pillow gives of broken EXIF
CHROMIUM = shutil.which("chromium")


@pytest.fixture(autouse=True)
def clip_settings(settings):
    settings.CLIP_SEARCH = {}
    return settings.CLIP_SEARCH


def corners(pixels: np.ndarray) -> np.ndarray:
    return np.array([pixels[y, x] for y in (4, -5) for x in (4, -5)]).astype(int)


def difference(data: bytes) -> int:
    """Return by how much the colours of a picture differ at most from those of the scene."""
    return int(np.abs(corners(images.shrink(data, SIZE)) - samples.COLOURS).max())


def largest_difference(name: str) -> int:
    """Return what the coding of a format may cost: half the colours of an AVIF are interpolated."""
    return 24 if "AVIF" in name else 8


# Shown.


@NO_WARNING
@pytest.mark.parametrize("name", PICTURES)
def test_what_browsers_show_is_read(name):
    images.check(io.BytesIO(PICTURES[name]))

    assert difference(PICTURES[name]) <= largest_difference(name)


@pytest.mark.parametrize("name", BLANK_AT_FIRST)
def test_of_an_animation_the_first_frame_that_shows_something_counts(name):
    assert difference(BLANK_AT_FIRST[name]) <= largest_difference(name)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_that_is_all_blank_is_white(kind):
    frames = [Image.new("RGB", (64, 64), "white")] * 30
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40)

    assert (images.shrink(data, SIZE) == 255).all()


def test_of_a_large_animation_the_first_frame_counts(monkeypatch):
    monkeypatch.setattr(images, "LARGEST_ANIMATION", 96 * 96 - 1)

    assert (images.shrink(BLANK_AT_FIRST["GIF that begins white"], SIZE) == 255).all()


@pytest.mark.parametrize("name", BITMAPS)
def test_formats_that_are_not_allowed_are_read_if_they_are_set(name, clip_settings):
    with pytest.raises(BadImage, match=f"The file is an? .*{name[:3]}.* Upload one of JPEG, PNG, WEBP"):
        images.check(io.BytesIO(BITMAPS[name]))
    clip_settings["IMAGE_FORMATS"] = ["bmp", "ICO"]

    assert images.check(io.BytesIO(BITMAPS[name])) == name[:3]
    assert difference(BITMAPS[name]) <= 8


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_grey_becomes_white(bits):
    grey = np.full((64, 64), 2 ** (bits - 1), np.uint16)
    grey[:32] = 0
    data = samples.png(grey, bits, 0, chunk(b"tRNS", struct.pack(">H", 2 ** (bits - 1))))

    pixels = images.shrink(data, SIZE)

    assert (pixels[4, 4].tolist(), pixels[-5, 4].tolist()) == ([0] * 3, [255] * 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("how", [{}, {"progressive": True, "interlace": 1}])
def test_half_a_picture_is_not_read(kind, how):
    data = encoded(samples.grainy(), kind, **how)

    if "progressive" in how and kind == "JPEG":  # half of it is the whole picture, in less detail
        data = data[: len(data) // 4]
    with pytest.raises(BadImage, match=r"The image is truncated, its end is missing .* Upload it again"):
        images.shrink(data[: len(data) // 2], SIZE)


def test_half_of_an_interlaced_png_is_not_read():
    data = samples.png(np.asarray(samples.grainy()), 8, 2, interlaced=True)

    with pytest.raises(BadImage, match="its end is missing"):
        images.shrink(data[: len(data) * 2 // 3], SIZE)
    assert difference(data[:-40]) <= 8


# A host's own pictures, as they are opened by Pillow.


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "P", "L", "LA", "1", "I;16", "YCbCr"])
def test_a_picture_of_any_mode_can_be_searched_by(mode):
    original = scene().convert("L").convert("I;16") if mode == "I;16" else scene().convert(mode)

    pixels = images.shrink(images.encoded(original, 64), SIZE)

    grey = mode in ("L", "LA", "1", "I;16")
    wanted = images.shrink(encoded(scene().convert("1" if mode == "1" else "L" if grey else "RGB")), SIZE)
    if mode == "I;16":
        wanted = np.zeros_like(wanted)  # of 65535, the values up to 255 are all black
    assert np.abs(pixels.astype(int) - wanted)[4:-4:8].mean() < 12


@pytest.mark.parametrize("name", ["JPEG in P3", "PNG in Adobe RGB", "JPEG CMYK with its profile"])
def test_a_picture_with_a_profile_can_be_searched_by(name):
    picture = Image.open(io.BytesIO(PICTURES[name]))

    assert difference(images.encoded(picture, 64)) <= 8
    assert picture.size == (96, 96)


# Colour profiles.


def test_without_its_profile_the_colours_would_differ():
    for name in ("PNG in P3", "PNG in Adobe RGB"):
        data = PICTURES[name]
        start = data.index(b"iCCP") - 4
        plain = data[:start] + data[start + 12 + int.from_bytes(data[start : start + 4]) :]
        assert difference(plain) > 20


def test_grey_is_converted_by_a_profile_for_grey_alone():
    grey = Image.new("L", (64, 64), 128)
    for profile, value in (
        (samples.grey_profile(1.0), 188),
        (samples.rgb_profile(samples.P3_TO_XYZ, 1.0), 128),
    ):
        pixels = images.shrink(encoded(grey, icc_profile=profile), SIZE)
        assert abs(int(pixels[9, 9, 0]) - value) <= 2
    pixels = images.shrink(encoded(scene(), icc_profile=samples.grey_profile(1.0)), SIZE)
    assert np.abs(corners(pixels) - samples.COLOURS).max() == 0


def test_a_profile_of_srgb_itself_costs_nothing(monkeypatch):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(samples.grainy(), icc_profile=profile)
    wanted = images.shrink(encoded(samples.grainy()), SIZE)
    images.shrink(data, SIZE)  # the profile is known from now on
    monkeypatch.setattr(ImageCms, "applyTransform", lambda *args: pytest.fail("converted"))

    assert (images.shrink(data, SIZE) == wanted).all()


def test_broken_profiles_are_ignored():
    chance = random.Random(1)
    profiles = [samples.cmyk_profile(samples.COLOURS), samples.rgb_profile(samples.P3_TO_XYZ, 2.2)]
    for number in range(100):
        broken = bytearray(profiles[number % 2])
        for _ in range(chance.randrange(1, 9)):
            broken[chance.randrange(chance.choice([140, 300, len(broken)]))] = chance.randrange(256)
        image = Image.new(("CMYK", "RGB")[number % 2], (8, 8))
        image.info["icc_profile"] = bytes(broken[: chance.choice([50, 200, len(broken)])])
        assert colours.in_srgb(colours.flattened(image), image).mode == "RGB"
    image = Image.new("RGB", (8, 8), "red")
    image.info["icc_profile"] = profiles[1] + bytes(colours.LARGEST_PROFILE)
    assert colours.in_srgb(image, image) is image


def test_threads_share_what_converts():
    many = [PICTURES[name] for name in ("JPEG in P3", "PNG in Adobe RGB", "JPEG CMYK with its profile")] * 10
    colours._transform.cache_clear()

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(difference, many)) <= 8


# Refused.

BOX = b"\0\0\0\x18ftyp"
OTHERS = {
    "an SVG drawing": [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<svg\nwidth="9"/>',
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/svg11.dtd">\n<svg width="9"/>',
    ],
    "a HEIC image": [BOX + b"heic\0\0\0\0mif1heic" + bytes(99), BOX + b"mif1\0\0\0\0mif1heic" + bytes(99)],
    "a JPEG XL image": [b"\xff\x0a" + bytes(99), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99)],
    "a JPEG 2000 image": [encoded(scene(), "JPEG2000")],
    "a TIFF image": [encoded(scene(), "TIFF"), b"MM\0*" + bytes(99)],
    "a BMP image": [encoded(scene(), "BMP")],
    "an icon": [encoded(scene(), "ICO")],
    "a Photoshop document": [b"8BPS\0\1" + bytes(99)],
    "a web page": [b"<!doctype html><title>Not found</title>", b"\n<html lang='en'><body>Log in"],
    "a PDF document": [encoded(scene(), "PDF")],
    "an EPS drawing": [encoded(scene(), "EPS")],
    "a video": [BOX + b"isom\0\0\2\0" + bytes(99), b"\x1a\x45\xdf\xa3" + bytes(99)],
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_format_is_called_what_it_is(name):
    for data in OTHERS[name]:
        for use in (lambda data: images.check(io.BytesIO(data)), lambda data: images.shrink(data, SIZE)):
            with pytest.raises(
                BadImage, match=f"^The file is {name}.* Upload one of JPEG, PNG, WEBP, GIF, AVIF"
            ):
                use(data)


def test_a_jpeg_that_no_browser_shows_is_not_called_truncated():
    data = encoded(scene(), "JPEG")
    data = with_bytes(data, data.index(b"\xff\xc0") + 4, b"\x0c")

    with pytest.raises(
        BadImage, match=r"of a rare kind that cannot be read .*12-bit.*Upload it again, saved anew"
    ):
        images.check(io.BytesIO(data))


def test_what_cannot_be_read_is_not_called_truncated():
    data = encoded(samples.grainy())
    with pytest.raises(BadImage, match=r"The image is corrupt, or of a rare kind"):
        images.shrink(with_bytes(data, data.index(b"IDAT") + 9, bytes(40)), SIZE)


def test_an_image_for_which_there_is_no_memory_is_not_called_corrupt(monkeypatch):
    def fail(image):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(BadImage, match=r"needs more memory than there is\. Upload a smaller one"):
        images.shrink(encoded(scene()), SIZE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_millions_of_tiny_parts_take_no_time(kind):
    parts = {
        "JPEG": b"\xff\xd8" + b"\xff\xfe\0\2" * 2_000_000,
        "PNG": encoded(scene())[:33] + chunk(b"tEXt", b"") * 700_000,
        "WEBP": b"RIFF\xff\xff\xff\0WEBP" + bytes(9_000_000),
        "AVIF": encoded(scene(), "AVIF")[:200] + b"\0\0\0\x08free" * 1_000_000,
    }
    started = time.process_time()
    with pytest.raises(BadImage, match=r"truncated|corrupt"):
        images.shrink(parts[kind], SIZE)
    assert time.process_time() - started < 3


def test_a_chunk_of_a_profile_is_not_unpacked_beyond_its_limit():
    bomb = with_chunk(encoded(scene()), b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))

    assert b"iCCP" not in image_files.inspect(bomb).data


# In a browser.


@pytest.fixture(scope="module")
def shown() -> Iterator[dict[str, list[list[int]] | None]]:
    """Return the corners of each picture as Chromium draws it, or None if it shows nothing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    draw = """async address => {
        const image = new Image(), canvas = document.createElement("canvas").getContext("2d")
        image.src = address
        try { await image.decode() } catch { return null }
        canvas.drawImage(image, 0, 0, 96, 96)
        return [[24, 24], [72, 24], [24, 72], [72, 72]].map(
            ([x, y]) => [...canvas.getImageData(x, y, 1, 1).data].slice(0, 3))
    }"""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        yield {
            name: page.evaluate(draw, "data:image;base64," + base64.b64encode(data).decode())
            for name, data in (PICTURES | BITMAPS).items()
            if "CMYK with its profile" not in name  # no printer has these inks, and Chromium ignores it
        }
        browser.close()


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="There is no chromium on PATH. Try: apt-get install chromium")
def test_these_are_pictures_that_a_browser_shows(shown):
    differing = {
        name
        for name, found in shown.items()
        if found is None or np.abs(np.array(found) - samples.COLOURS).max() > largest_difference(name)
    }

    assert {name for name, found in shown.items() if found is None} == set()
    assert differing == set()
