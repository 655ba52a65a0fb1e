"""Resizing: orientation, colours, transparency, sizes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from clip_search import colours, images
from clip_search.exceptions import BadImage

from .pictures import BLUE, FORMATS, RED, SIZE, WHITE, encoded, halves, is_about, photo, top_and_bottom


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_becomes_small_rgb(kind):
    pixels = images.shrink(FORMATS[kind], SIZE)

    assert (pixels.shape, pixels.dtype) == ((SIZE, SIZE, 3), np.uint8)
    reference = images.shrink(FORMATS["PNG"], SIZE).astype(int)
    assert np.abs(pixels - reference).mean() < 8


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (17, 40), (64, 64), (31, 33), (400, 100)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_gives_the_pixels_that_clips_own_processor_gives(size, kind):
    image = photo(3, *size)
    short, long = sorted(size)
    resized = tuple(SIZE if side == short else int(SIZE * long / short) for side in size)
    left, top = (resized[0] - SIZE) // 2, (resized[1] - SIZE) // 2
    whole = np.asarray(image.resize(resized, Image.Resampling.BICUBIC))

    pixels = images.shrink(encoded(image, kind, lossless=True), SIZE)

    assert (pixels == whole[top : top + SIZE, left : left + SIZE]).all()


@pytest.mark.parametrize(
    "size",
    [(300, 200), (201, 300), (50, 700), (1300, 77), (64, 64), (64, 128), (43, 64), (64, 114), (32, 90)],
)
@pytest.mark.parametrize(("kind", "most", "mean"), [("photo", 2, 0.25), ("noise", 30, 2.5)])
def test_of_a_jpeg_the_middle_alone_is_resized_to_nearly_the_same_pixels(kind, most, mean, size, monkeypatch):
    """Pillow may go down first where it went across first, and clips in between: noise the most."""
    picture = photo(3, *size)
    if kind == "noise":
        values = np.random.default_rng(4).choice(np.array([0, 255], np.uint8), (size[1], size[0], 3))
        picture = Image.fromarray(values)
    data = encoded(picture, "JPEG", quality=95)
    monkeypatch.setattr(images, "DRAFT_FACTOR", 10_000)
    monkeypatch.setattr(images, "REDUCING_GAP", None)
    whole = images.shrink(encoded(Image.open(io.BytesIO(data))), SIZE).astype(int)
    made, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda *args, **to: made.append(args[1]) or resize(*args, **to)
    )

    pixels = images.shrink(data, SIZE)

    assert made == [(SIZE, SIZE)]
    assert np.abs(pixels - whole).max() <= most
    assert np.abs(pixels - whole).mean() <= mean


@pytest.mark.parametrize("size", [(300, 200), (201, 300), (71, 90), (1300, 77)])
def test_a_jpeg_is_resized_in_two_steps_to_nearly_the_same_pixels(size, monkeypatch):
    data = encoded(photo(3, *size), "JPEG", quality=95)
    two_steps = images.shrink(data, SIZE).astype(int)
    monkeypatch.setattr(images, "REDUCING_GAP", None)
    one_step = images.shrink(data, SIZE)

    assert 0 < np.abs(two_steps - one_step).mean() <= 1
    assert np.abs(two_steps - one_step).max() <= 8


def test_a_jpeg_that_is_enlarged_has_the_very_same_pixels():
    data = encoded(photo(3, 31, 33), "JPEG", quality=95)

    pixels = images.shrink(data, SIZE)

    assert (pixels == images.shrink(encoded(Image.open(io.BytesIO(data))), SIZE)).all()


def test_a_jpeg_is_decoded_small_and_looks_the_same():
    """As CLIP sees it, a drafted JPEG is the same picture: cosine of the centred pixels above 0.99."""
    found = []
    for seed in range(12):
        image = photo(seed, 1000, 800)
        drafted = images.shrink(encoded(image, "JPEG", quality=90), 64).astype(float)
        exact = images.shrink(encoded(image), 64).astype(float)
        drafted, exact = drafted - drafted.mean(), exact - exact.mean()
        found.append((drafted * exact).sum() / np.linalg.norm(drafted) / np.linalg.norm(exact))

    assert np.mean(found) > 0.99
    assert min(found) > 0.98


@pytest.mark.parametrize("side", [64, 200, 1000])
def test_draft_never_goes_below_twice_the_wanted_side(side, monkeypatch):
    seen = []
    flattened = colours.flattened
    monkeypatch.setattr(colours, "flattened", lambda image: seen.append(image.size) or flattened(image))

    images.shrink(encoded(photo(0, side, side), "JPEG"), SIZE)

    assert min(seen[0]) >= min(side, 2 * SIZE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_turned_pictures_are_upright(kind, orientation, stored):
    upright = halves(96, 96)
    upright.paste((0, 255, 0), (0, 0, 40, 40))  # so that a mirrored one differs
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(upright if stored is None else upright.transpose(stored), kind, exif=exif, quality=95)

    pixels = images.shrink(data, SIZE)

    assert is_about(pixels[4, 4], (0, 255, 0), 30)
    assert is_about(pixels[4, -5], RED, 30)
    assert is_about(pixels[-5, 4], BLUE, 30)


BROKEN_EXIF = [b"MM\0*\0\0\0\x08\0\x09\x01", b"??", b"MM\0*\xff\xff\xff\xff"]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # which Pillow gives of it, on opening a JPEG
@pytest.mark.parametrize("exif", BROKEN_EXIF)
def test_broken_exif_does_not_spoil_a_jpeg(exif):
    data = encoded(halves(), "JPEG", exif=b"Exif\0\0" + exif, quality=95)

    top, bottom = top_and_bottom(images.shrink(data, SIZE))

    assert is_about(top, RED)
    assert is_about(bottom, BLUE)


@pytest.mark.parametrize("exif", BROKEN_EXIF)
def test_broken_exif_does_not_spoil_a_png_even_where_warnings_are_errors(exif):
    assert top_and_bottom(images.shrink(encoded(halves(), exif=exif), SIZE)) == (RED, BLUE)


def test_what_is_transparent_becomes_white():
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 64, 32))

    top, bottom = top_and_bottom(images.shrink(encoded(image), SIZE))

    assert (top, bottom) == (RED, WHITE)


def test_what_is_half_transparent_becomes_paler():
    pixels = images.shrink(encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 128))), SIZE)

    assert is_about(pixels[9, 9], (255, 127, 127), 1)


def test_more_rows_than_are_laid_on_white_at_a_time():
    image = Image.new("RGBA", (40, 3 * colours.ROWS + 5), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, image.height // 2, 40, image.height))

    top, bottom = top_and_bottom(images.shrink(encoded(image.resize((40, 40))), SIZE))
    assert (top, bottom) == (RED, WHITE)
    flat = colours.flattened(image)
    assert {flat.getpixel((9, y)) for y in range(image.height // 2)} == {RED}
    assert {flat.getpixel((9, y)) for y in range(image.height // 2, image.height)} == {WHITE}


def test_transparent_grey_becomes_white():
    assert tuple(images.shrink(encoded(Image.new("LA", (64, 64), (0, 0))), SIZE)[9, 9]) == WHITE


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_transparency(transparency, kind):
    image = Image.new("P", (64, 64), 1)
    image.putpalette([*RED, 0, 0, 0])
    image.paste(0, (0, 0, 64, 32))
    if kind == "GIF":
        transparency = 1

    top, bottom = top_and_bottom(images.shrink(encoded(image, kind, transparency=transparency), SIZE))

    assert (top, bottom) == (RED, WHITE)


def test_a_transparent_colour_without_alpha():
    data = encoded(halves(), transparency=BLUE)

    assert top_and_bottom(images.shrink(data, SIZE)) == (RED, WHITE)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_black_and_white_and_palettes(mode):
    image = Image.new("RGB", (64, 64), "white")
    image.paste("black", (0, 32, 64, 64))

    top, bottom = top_and_bottom(images.shrink(encoded(image.convert(mode)), SIZE))

    assert (top, bottom) == (WHITE, (0, 0, 0))


def test_cmyk():
    top, bottom = top_and_bottom(images.shrink(encoded(halves().convert("CMYK"), "JPEG", quality=95), SIZE))

    assert is_about(top, RED)
    assert is_about(bottom, BLUE)


def test_16_bits_are_scaled_not_clipped():
    grey = np.full((64, 64), 0x4000, np.uint16)
    grey[32:] = 0xC000

    top, bottom = top_and_bottom(images.shrink(encoded(Image.fromarray(grey)), SIZE))

    assert (top, bottom) == ((0x40,) * 3, (0xC0,) * 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_of_an_animation_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (64, 64), color) for color in (RED, BLUE, WHITE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)

    assert is_about(images.shrink(data, SIZE)[9, 9], RED, 4)


def test_a_long_strip_is_not_resized_as_a_whole():
    strip = Image.new("RGB", (2, 1_000_000), RED)

    pixels = images.shrink(encoded(strip), 224)

    assert pixels.shape == (224, 224, 3)
    assert is_about(pixels[100, 100], RED, 0)


def test_a_file_that_is_also_something_else_is_read_as_the_image_it_starts_with():
    data = FORMATS["PNG"] + b"PK\x03\x04" + b"<script>alert(1)</script>%PDF-1.7"

    assert (images.shrink(data, SIZE) == images.shrink(FORMATS["PNG"], SIZE)).all()
    with pytest.raises(BadImage):
        images.shrink(b"%PDF-1.7\n" + FORMATS["PNG"], SIZE)
