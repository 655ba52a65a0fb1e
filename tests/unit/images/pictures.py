"""Pictures for the tests of reading and resizing images."""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image

SIZE = 32


RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


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
