"""Images made to do damage, and valid ones that are rare: `corpus(count)` gives as many as wanted.

The valid ones all show `scene()`, red and green above blue and yellow: it shows which way up they are.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from PIL import ExifTags, Image

RED, GREEN, BLUE, YELLOW = (220, 20, 20), (20, 200, 40), (30, 40, 220), (250, 230, 30)
LARGEST = (5000, 4000)
"""Pixels: as many as are allowed by default."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""By EXIF orientation, how a camera that was held so stores an upright scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A file, and its fate: "upright", "indexed" (in other colours), "refused", or None: either."""

    name: str
    data: bytes
    fate: str | None = None


def corpus(count: int, seed: int = 1) -> list[Hostile]:
    """Return so many files, each another: the named ones, then truncated ones, then damaged ones."""
    named = [*odd(), *large(), *refused()]
    cut = list(truncated())
    rest = max(count - len(named), 0)
    chosen = random.Random(seed).sample(cut, min(len(cut), rest * 2 // 3))
    return [*named, *chosen, *islice(damaged(seed), rest - len(chosen))]


def scene(width: int = 96, height: int = 96) -> Image.Image:
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# Valid, and rare.


def odd() -> Iterator[Hostile]:
    """Yield valid images of every odd kind."""
    image = scene()
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size, "white")] * 3, "duration": 40}
    yield from (upright(kind, encoded(image, kind, quality=95)) for kind in ("JPEG", "PNG", "WEBP", "AVIF"))
    yield from (upright(f"animated {k}", encoded(image, k, **frames)) for k in ("GIF", "WEBP", "PNG", "AVIF"))
    yield upright("CMYK", encoded(image.convert("CMYK"), "JPEG", quality=95))
    yield upright("progressive", encoded(image, "JPEG", progressive=True, quality=95))
    yield upright("palette", encoded(image.convert("P"), "PNG"))
    yield upright("palette with transparency", encoded(transparent_palette(), "PNG", transparency=7))
    yield upright("transparent edge", encoded(transparent_edge(), "PNG"))
    yield upright("second picture behind", encoded(image, "MPO", save_all=True, append_images=[image]))
    yield upright("PNG and ZIP", encoded(image) + b"PK\x03\x04" + bytes(40))
    yield upright("JPEG and HTML", encoded(image, "JPEG", quality=95) + b"<script>alert(1)</script>")
    yield upright("GIF and JavaScript", encoded(image, "GIF", comment=b"*/=1;alert(1)//"))
    yield upright("PNG and PDF", encoded(image) + b"%PDF-1.7\n%%EOF")
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        for kind in ("JPEG", "PNG", "WEBP"):
            data = encoded(image.transpose(turn), kind, exif=exif, quality=95)
            yield upright(f"{kind} turned {orientation}", data)
    yield Hostile(
        name="16 bits", data=encoded(Image.fromarray(np.full((64, 64), 0x8000, np.uint16))), fate="indexed"
    )
    yield Hostile(name="1 bit", data=encoded(image.convert("1")), fate="indexed")
    yield Hostile(name="grey with transparency", data=encoded(image.convert("LA")), fate="indexed")
    yield Hostile(name="strip", data=encoded(Image.new("RGB", (2, 1_000_000))), fate="indexed")


def upright(name: str, data: bytes) -> Hostile:
    return Hostile(name=name, data=data, fate="upright")


def transparent_palette() -> Image.Image:
    """Return the scene in a palette of which one colour, that of a thin frame, is transparent."""
    image = Image.new("P", (96, 96), 0)
    image.putpalette([*RED, *GREEN, *BLUE, *YELLOW, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    for colour, corner in enumerate([(0, 0), (48, 0), (0, 48), (48, 48)]):
        image.paste(colour, (*corner, corner[0] + 48, corner[1] + 48))
    image.paste(7, (0, 0, 96, 1))
    return image


def transparent_edge(width: int = 96, height: int = 96) -> Image.Image:
    image = scene(width, height).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, height - 1, width, height))
    return image


def large() -> Iterator[Hostile]:
    """Yield images as large as is allowed: what decoding one costs at most."""
    image = scene(*LARGEST)
    yield upright("large RGB", encoded(image, compress_level=1))
    yield upright("large RGBA", encoded(transparent_edge(*LARGEST), compress_level=1))
    yield upright("large JPEG", encoded(image, "JPEG", quality=90))
    yield upright("large progressive", encoded(image, "JPEG", quality=90, progressive=True))
    yield upright("large GIF", encoded(image.convert("P"), "GIF"))
    for kind in ("RGB", "RGBA"):
        webp = transparent_edge(4000, 3100) if kind == "RGBA" else scene(4000, 3100)
        yield upright(f"large WEBP, {kind}", encoded(webp, "WEBP", quality=60, method=0))
    yield upright("large AVIF", encoded(image, "AVIF", quality=40, speed=10))
    yield upright("large CMYK", encoded(image.convert("CMYK"), "JPEG", quality=90, progressive=True))
    alpha = Image.merge("LA", (image.convert("L"), Image.new("L", LARGEST, 200)))
    yield Hostile(name="large LA", data=encoded(alpha, compress_level=1), fate="indexed")
    grey = np.full(LARGEST[::-1], 0x8000, np.uint16)
    yield Hostile(
        name="large of 16 bits", data=encoded(Image.fromarray(grey), compress_level=1), fate="indexed"
    )


# Refused.


def refused() -> Iterator[Hostile]:
    """Yield bombs, and what is no image of an allowed format."""
    for size in [(7000, 7000), (20_000, 10_000), (5000, 4001), (100_000, 100_000)]:
        yield bad(f"bomb {size}", zeros_png(*size))
    picture = encoded(scene())
    yield bad("WEBP of 20 million", encoded(Image.new("RGB", LARGEST), "WEBP", method=0))
    yield bad("PNG of 2**31 - 1", picture[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + picture[24:])
    yield bad("PNG of 0 × 0", picture[:16] + struct.pack(">II", 0, 0) + picture[24:])
    yield bad("GIF of 65535", with_bytes(encoded(scene(), "GIF"), 6, struct.pack("<HH", 65535, 65535)))
    yield upright("text bomb", with_chunk(picture, b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9)))
    yield bad("one pixel", encoded(Image.new("RGB", (1, 1))))
    yield bad("empty", b"")
    yield bad("too many bytes", encoded(scene(), "JPEG") + bytes(10 * 1024 * 1024))
    yield bad("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>')
    yield bad("PDF", encoded(scene(), "PDF"))
    yield bad("EPS", encoded(scene(), "EPS"))
    yield bad("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    yield bad("HTML", b"<html><script>alert(1)</script></html>")
    yield bad("ZIP", b"PK\x03\x04" + bytes(100))
    yield bad("PDF before a PNG", b"%PDF-1.7\n" + picture)
    for kind in ("BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "DDS", "SGI", "XBM"):
        yield bad(kind, encoded(scene(64, 64).convert("1" if kind == "XBM" else "RGB"), kind))
    for magic in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"GIF89a",
        b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
    ):
        yield bad(f"{magic[:4]!r} and noise", magic + random.Random(3).randbytes(2000))


def bad(name: str, data: bytes) -> Hostile:
    return Hostile(name=name, data=data, fate="refused")


def zeros_png(width: int, height: int) -> bytes:
    """Return a PNG of these dimensions whose body, where it is not too large to make, is black."""
    row, rows = (width + 7) // 8 + 1, min(height, 20_000)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes(row * rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """Put a chunk after the header of a PNG."""
    return png[:33] + chunk(kind, body) + png[33:]


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


# Damaged.

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")


def small(kind: str, seed: int = 0) -> bytes:
    """Return a small picture with some grain."""
    chance = np.random.default_rng(seed)
    return encoded(Image.fromarray(chance.integers(0, 256, (24, 30, 3), dtype=np.uint8)), kind)


def truncated() -> Iterator[Hostile]:
    """Yield a file of each kind, cut at every tenth byte."""
    for kind in KINDS:
        data = small(kind)
        for end in range(10, len(data), 10):
            yield Hostile(name=f"{kind} cut at {end}", data=data[:end])


def damaged(seed: int) -> Iterator[Hostile]:
    """Yield, without end, files of each kind with a few bits flipped, more of them near the start."""
    chance = random.Random(seed)
    while True:
        kind = chance.choice(KINDS)
        data = bytearray(small(kind, chance.randrange(1000)))
        for _ in range(chance.randrange(1, 12)):
            place = chance.randrange(chance.choice([40, 200, len(data)])) % len(data)
            data[place] ^= 1 << chance.randrange(8)
        yield Hostile(name=f"{kind} with bits flipped {chance.random()}", data=bytes(data))
