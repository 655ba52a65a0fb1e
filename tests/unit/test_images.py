from __future__ import annotations

import hashlib
import io
import random
import struct
import threading
import time
import weakref
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from clip_search import colours, images
from clip_search.exceptions import BadImage
from tests.conftest import PATIENCE, wait_until

SIZE = 32
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture(autouse=True)
def clip_settings(settings):
    settings.CLIP_SEARCH = {}
    return settings.CLIP_SEARCH


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(width: int = 96, height: int = 96) -> Image.Image:
    """Red above, blue below."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (0, height // 2, width, height))
    return image


def photo(seed: int = 0, width: int = 300, height: int = 200) -> Image.Image:
    """Soft blobs with some grain, as a photograph has."""
    chance = np.random.default_rng(seed)
    blobs = Image.fromarray(chance.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(blobs.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray((pixels + chance.integers(-9, 10, pixels.shape)).clip(0, 255).astype(np.uint8))


def zeros_png(width: int, height: int) -> bytes:
    """A black PNG of any dimensions, one bit a pixel, made without decoding it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(((width + 7) // 8 + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def top_and_bottom(pixels) -> tuple[tuple[int, ...], tuple[int, ...]]:
    middle = pixels.shape[1] // 2
    return tuple(pixels[3, middle].tolist()), tuple(pixels[-4, middle].tolist())


def is_about(color, wanted, tolerance: int = 12) -> bool:
    return max(abs(int(a) - int(b)) for a, b in zip(color, wanted, strict=True)) <= tolerance


NOT_IMAGES = {
    "text": b"This is a price list.\n" * 40,
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
    "random": random.Random(7).randbytes(5000),
    "html": b"<html><script>alert(1)</script></html>",
    "bmp": encoded(halves(), "BMP"),
    "tiff": encoded(halves(), "TIFF"),
    "jpeg header alone": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "png header alone": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0",
    "webp header alone": b"RIFF\x10\0\0\0WEBPVP8 ",
}
FORMATS = {
    "JPEG": encoded(photo(), "JPEG"),
    "PNG": encoded(photo()),
    "WEBP": encoded(photo(), "WEBP"),
    "GIF": encoded(photo(), "GIF"),
    "AVIF": encoded(photo(), "AVIF"),
}


# Reading.


def test_reads_all_bytes():
    data = random.Random(1).randbytes(3_000_000)

    assert images.read(io.BytesIO(data)) == data


def test_reads_from_a_source_that_gives_little_at_a_time():
    class Trickle(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    assert images.read(Trickle(b"0123456789" * 5)) == b"0123456789" * 5


def test_an_empty_file_is_a_bad_image():
    with pytest.raises(BadImage, match="empty"):
        images.read(io.BytesIO())


def test_a_missing_file_is_a_bad_image_that_does_not_tell_the_servers_folders():
    class Missing(io.BytesIO):
        def read(self, size=-1):
            raise FileNotFoundError(2, "No such file", "/srv/secret/media/mug.jpg")

    with pytest.raises(BadImage, match=r"missing: mug\.jpg"):
        images.read(Missing())


def test_another_error_of_the_storage_is_left_to_the_caller():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        images.read(Broken())


def test_no_more_is_read_than_the_limit(clip_settings):
    clip_settings["MAX_IMAGE_BYTES"] = 100
    source = io.BytesIO(bytes(10_000))

    with pytest.raises(BadImage, match=r'CLIP_SEARCH\["MAX_IMAGE_BYTES"\], 100 bytes'):
        images.read(source)
    assert source.tell() == 101
    assert len(images.read(io.BytesIO(bytes(100)))) == 100


def test_the_hash_is_of_the_content():
    assert images.content_hash(b"a") == hashlib.sha256(b"a").hexdigest()[:32]
    assert images.content_hash(b"a") != images.content_hash(b"b")


# Checking uploads.


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


# Shrinking.


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
    whole = images.shrink(encoded(Image.open(io.BytesIO(data))), SIZE).astype(int)
    made, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda *args, **to: made.append(args[1]) or resize(*args, **to)
    )

    pixels = images.shrink(data, SIZE)

    assert made == [(SIZE, SIZE)]
    assert np.abs(pixels - whole).max() <= most
    assert np.abs(pixels - whole).mean() <= mean


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


# Damage.


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


# Threads.


def test_threads_get_what_one_alone_gets():
    many = [encoded(photo(seed), "JPEG") for seed in range(8)] * 4
    alone = [images.shrink(data, SIZE) for data in many]

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda data: images.shrink(data, SIZE), many))

    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


@pytest.mark.timing
@pytest.mark.parametrize(
    ("data", "expected"),
    [(encoded(photo()), 2), (encoded(photo(), "JPEG", progressive=True), 2), (encoded(photo(), "JPEG"), 6)],
)
def test_only_a_few_large_images_are_decoded_at_once(data, expected, monkeypatch):
    """A JPEG is small once drafted, unless it is progressive, which its decoder holds whole."""
    monkeypatch.setattr(images, "budget", images.Budget(2 * 300 * 200 + 100))
    inside, most, lock, arrived = 0, 0, threading.Lock(), threading.Event()
    square = images._square

    def slow(image, size, **how):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if most == expected:
                arrived.set()
        arrived.wait(PATIENCE)
        time.sleep(0.05)  # for one too many to come, too
        with lock:
            inside -= 1
        return square(image, size, **how)

    monkeypatch.setattr(images, "_square", slow)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda d: images.shrink(d, SIZE), [data] * 6))

    assert most == expected


@pytest.mark.timing
def test_a_large_image_gets_its_turn_between_small_ones():
    budget, order = images.Budget(10), []

    def small(number):
        with budget.taken(5):
            order.append("small")

    def large():
        with budget.taken(1000):  # more than there are: it waits for all of them
            order.append("large")

    with ThreadPoolExecutor(6) as threads:
        with budget.taken(5):
            threads.submit(large)
            assert wait_until(budget._turn.locked)  # the large one is next
            smalls = threads.map(small, range(20))
        list(smalls)

    assert order == ["large"] + ["small"] * 20


@pytest.mark.timing
def test_what_is_taken_at_once_is_given_back_to_the_last_pixel():
    """In floating point it would not be, and who then wants all there is would wait for ever."""
    budget, sides = images.Budget(20_000_000), random.Random(0)
    for _ in range(2000):
        one, other = (sides.randint(600, 1800) * sides.randint(600, 1800) * 1.6 for _ in range(2))
        with ExitStack() as first, budget.taken(other):
            first.enter_context(budget.taken(one))
            first.close()  # before the other, as in threads
    everything = threading.Thread(target=lambda: budget.taken(20_000_000).__enter__(), daemon=True)
    everything.start()
    everything.join(PATIENCE)
    assert not everything.is_alive()


def test_a_failed_image_gives_its_share_back():
    budget = images.Budget(10)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), budget.taken(10):
            1 / 0  # noqa: B018
    with budget.taken(10):
        pass


def test_the_next_image_waits_until_the_memory_of_the_last_one_is_free(monkeypatch):
    """Each is as large as all that may be decoded at once, so never are two of them there."""
    seen, most = [], []
    load = ImageFile.ImageFile.load

    def noted(image):
        seen.append(weakref.ref(image))
        most.append(len({id(alive) for alive in (one() for one in seen) if alive is not None}))
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", noted)
    monkeypatch.setattr(images, "budget", images.Budget(300 * 200))
    transpose = images._orientation
    monkeypatch.setattr(images, "_orientation", lambda image: time.sleep(0.01) or transpose(image))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda data: images.shrink(data, SIZE), [FORMATS["PNG"]] * 12))

    assert max(most) == 1


def test_a_worker_s_large_pictures_are_in_one_piece():
    usual = Image.core.get_block_size()
    try:
        images.release_memory_early()
        assert Image.core.get_block_size() > 32 * 1024 * 1024
        assert images.shrink(FORMATS["PNG"], SIZE).shape == (SIZE, SIZE, 3)
    finally:
        Image.core.set_block_size(usual)
