"""Pictures of `scene()` in the variants that browsers show, damaged ones among them.

`pictures()` gives each with its name. A test in a browser shows that they are what they claim to be.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from .hostile_images import BLUE, GREEN, RED, YELLOW, chunk, encoded, scene, transparent_edge, with_chunk

COLOURS = (RED, GREEN, BLUE, YELLOW)
SIDE = 96
D50 = (0.9642, 1.0, 0.8249)
SRGB_TO_XYZ = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
P3_TO_XYZ = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
ADOBE_TO_XYZ = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each picture."""
    yield from pngs()
    yield from jpegs()
    yield from gifs()
    yield from others()
    yield from profiled()


# PNG.


def pngs() -> Iterator[tuple[str, bytes]]:
    plain, rgb = encoded(scene()), np.asarray(scene())
    index = indices()
    palette = chunk(b"PLTE", bytes(value for colour in COLOURS for value in colour))
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    for interlaced in (False, True):
        how = " interlaced" * interlaced
        for bits in (2, 4, 8):
            yield f"PNG palette {bits}{how}", png(index, bits, 3, palette, interlaced=interlaced)
        for bits in (8, 16):
            deep = rgb.astype(np.uint16) * 257 if bits == 16 else rgb
            deep_alpha = alpha.astype(np.uint16) * 257 if bits == 16 else alpha
            yield f"PNG RGB {bits}{how}", png(deep, bits, 2, interlaced=interlaced)
            with_alpha = np.concatenate([deep, deep_alpha], axis=2)
            yield f"PNG RGBA {bits}{how}", png(with_alpha, bits, 6, interlaced=interlaced)
    text = b"a\0\0" + zlib.compress(bytes(50_000_000), 9)
    for place in (33, len(plain) - 12):
        where = "before" if place == 33 else "after"
        yield f"PNG text of 50 MB {where}", plain[:place] + chunk(b"zTXt", text) + plain[place:]
    xmp = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 2_000_000)
    yield "PNG XMP of 2 MB", with_chunk(plain, b"iTXt", xmp)
    yield (
        "PNG text of 70 MB in parts",
        plain[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9)) * 70 + plain[33:],
    )
    yield "PNG text with a wrong checksum", plain[:33] + chunk(b"tEXt", b"a\0b")[:-1] + b"?" + plain[33:]
    for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tRNS", b"acTL", b"tIME", b"bKGD"):
        yield f"PNG empty {kind.decode()}", with_chunk(plain, kind, b"")
    yield "PNG profile of 2 MB", with_chunk(plain, b"iCCP", b"a\0\0" + zlib.compress(bytes(2_000_000), 9))
    yield "PNG profile that is none", with_chunk(plain, b"iCCP", b"a\0\0" + zlib.compress(b"none"))
    yield "PNG profile that is not packed", with_chunk(plain, b"iCCP", b"a\0\0junk")
    yield "PNG broken EXIF", with_chunk(plain, b"eXIf", b"MM\0*\xff\xff\xff\xff")
    yield "PNG without its end", plain[:-12]
    yield "PNG without its last bytes", encoded(grainy())[:-30]
    yield "PNG with something behind", plain + b"<html>" * 100
    yield "PNG transparent edge", encoded(transparent_edge())
    frames = [Image.new("RGB", (SIDE, SIDE), "white")] * 2
    yield "APNG", encoded(scene(), save_all=True, append_images=frames, duration=40)


def png(values: np.ndarray, bits: int, kind: int, extra: bytes = b"", *, interlaced: bool = False) -> bytes:
    """Return a PNG of (height, width) or (height, width, channels) values of so many bits."""
    height, width = values.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: first column, first row, steps
        passes = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    rows = b"".join(
        b"\0" + packed(row, bits) for x, y, right, down in passes for row in values[y::down, x::right]
    )
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def packed(row: np.ndarray, bits: int) -> bytes:
    if bits == 16:
        return row.astype(">u2").tobytes()
    flat = row.reshape(-1, 1).astype(np.uint8)
    return np.packbits(np.unpackbits(flat, axis=1)[:, 8 - bits :]).tobytes()


def indices() -> np.ndarray:
    """Return the scene as indices into COLOURS."""
    across, down = np.arange(SIDE) >= SIDE // 2, np.arange(SIDE)[:, None] >= SIDE // 2
    return (across + 2 * down).astype(np.uint8)


def grainy() -> Image.Image:
    """Return the scene with some grain, so that its file has more than a few bytes."""
    noise = np.random.default_rng(1).integers(-4, 5, (SIDE, SIDE, 3))
    return Image.fromarray((np.asarray(scene()).astype(int) + noise).clip(0, 255).astype(np.uint8))


# JPEG.


def jpegs() -> Iterator[tuple[str, bytes]]:
    plain = encoded(grainy(), "JPEG", quality=95)
    first = 4 + int.from_bytes(plain[4:6]) - 2 + 2  # where the second segment begins
    yield "JPEG progressive", encoded(scene(), "JPEG", progressive=True, quality=95)
    yield "JPEG restart markers", encoded(scene(), "JPEG", restart_marker_blocks=3, quality=95)
    yield "JPEG 4:4:4", encoded(scene(), "JPEG", subsampling=0, quality=95)
    yield "JPEG RGB", encoded(scene(), "JPEG", keep_rgb=True, quality=95)
    yield "JPEG CMYK of Adobe", encoded(scene().convert("CMYK"), "JPEG", quality=95)
    yield "JPEG CMYK progressive", encoded(scene().convert("CMYK"), "JPEG", quality=95, progressive=True)
    yield "MPO", encoded(scene(), "MPO", quality=95, save_all=True, append_images=[scene()])
    yield (
        "JPEG with a broken MPF",
        plain[:first] + segment(0xE2, b"MPF\0MM\0*\xff\xff\xff\xff") + plain[first:],
    )
    yield (
        "JPEG with a broken EXIF",
        plain[:first] + segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff") + plain[first:],
    )
    yield (
        "JPEG with a broken profile",
        plain[:first] + segment(0xE2, b"ICC_PROFILE\0\1\1none") + plain[first:],
    )
    yield "JPEG with half a profile", plain[:first] + segment(0xE2, b"ICC_PROFILE\0\1\2none") + plain[first:]
    yield "JPEG with junk between", plain[:first] + b"\0\0junk" + plain[first:]
    yield (
        "JPEG with a broken Photoshop part",
        plain[:first] + segment(0xED, b"Photoshop 3.0\x008BIM\4") + plain[first:],
    )
    yield "JPEG with fill bytes", plain[:first] + b"\xff" * 9 + plain[first:]
    yield "JPEG with something behind", plain + b"<html>" * 100
    for kind, data in (("JPEG", plain), ("JPEG progressive", encoded(grainy(), "JPEG", progressive=True))):
        yield f"{kind} without its end", data[:-2]
        yield f"{kind} without its last bytes", data[:-40]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


# GIF, WEBP, AVIF.


def gifs() -> Iterator[tuple[str, bytes]]:
    white = Image.new("RGB", (SIDE, SIDE), "white")
    behind = {"save_all": True, "append_images": [white] * 2, "duration": 40}
    yield "GIF animated", encoded(scene(), "GIF", **behind)
    yield "GIF interlaced", encoded(grainy(), "GIF", interlace=1)
    yield "GIF with a comment", encoded(scene(), "GIF", comment=b"x" * 5000)
    plain = encoded(scene().quantize(4), "GIF")
    colours = plain[13 : 13 + 12]
    assert plain[10] & 0x87 == 0x81
    at = plain.index(b",", 25)
    local = plain[:10] + b"\0" + plain[11:13] + plain[25 : at + 9] + bytes([plain[at + 9] | 0x81]) + colours
    yield "GIF with a palette of its frame", local + plain[at + 10 :]
    yield "GIF of no screen size", plain[:6] + bytes(4) + plain[10:]
    yield "GIF without its end", plain[:-1]
    yield "GIF without its last bytes", encoded(grainy(), "GIF")[:-40]
    yield "GIF with something behind", plain + b"<html>" * 100


def blank_at_first() -> Iterator[tuple[str, bytes]]:
    """Yield animations that show the scene from their third frame on, and nothing before."""
    for kind in ("GIF", "WEBP", "AVIF"):
        for name, first in (("white", (255, 255, 255, 255)), ("clear", (0, 0, 0, 0))):
            frames = [Image.new("RGBA", (SIDE, SIDE), first), transparent_edge(), transparent_edge()]
            frames.insert(1, Image.new("RGBA", (SIDE, SIDE), (255, 255, 255, 255)))
            options = {"save_all": True, "append_images": frames[1:], "duration": 40}
            yield f"{kind} that begins {name}", encoded(frames[0], kind, **options)


def others() -> Iterator[tuple[str, bytes]]:
    behind = {"save_all": True, "append_images": [Image.new("RGB", (SIDE, SIDE))] * 2, "duration": 40}
    for kind in ("WEBP", "AVIF"):
        yield kind, encoded(scene(), kind, quality=95)
        yield f"{kind} with alpha", encoded(transparent_edge(), kind, quality=95)
        yield f"{kind} animated", encoded(scene(), kind, quality=95, **behind)
        yield f"{kind} with something behind", encoded(scene(), kind, quality=95) + b"<html>" * 10
    yield "WEBP lossless", encoded(scene(), "WEBP", lossless=True)


def bitmaps() -> Iterator[tuple[str, bytes]]:
    """Yield BMP and ICO files, which are read if IMAGE_FORMATS names them."""
    plain = encoded(scene(), "BMP")
    yield "BMP 24", plain
    yield "BMP 8", encoded(scene().quantize(4), "BMP")
    yield "BMP 32", encoded(scene().convert("RGBA"), "BMP")
    rows = np.frombuffer(plain[54:], np.uint8).reshape(SIDE, -1)[::-1].tobytes()
    yield "BMP from the top down", plain[:22] + struct.pack("<i", -SIDE) + plain[26:54] + rows
    red, green, blue = (np.asarray(scene())[::-1, :, channel].astype(np.uint16) for channel in range(3))
    deep = ((red >> 3) << 11 | (green >> 2) << 5 | blue >> 3).astype("<u2").tobytes()
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    header = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 16, 3, len(deep), 0, 0, 0, 0)
    yield "BMP 16", struct.pack("<2sIHHI", b"BM", 66 + len(deep), 0, 0, 66) + header + masks + deep
    yield "ICO", encoded(scene(), "ICO", sizes=[(96, 96)])


# Colour profiles.


def profiled() -> Iterator[tuple[str, bytes]]:
    """Yield the scene in other colour spaces, with the profile that says so."""
    p3, adobe = rgb_profile(P3_TO_XYZ, 2.2), rgb_profile(ADOBE_TO_XYZ, 2.19921875)
    for name, matrix, gamma, profile in (
        ("P3", P3_TO_XYZ, 2.2, p3),
        ("Adobe RGB", ADOBE_TO_XYZ, 2.19921875, adobe),
    ):
        image = in_space(scene(), matrix, gamma)
        for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
            yield f"{kind} in {name}", encoded(image, kind, icc_profile=profile, quality=95)
        yield f"PNG palette in {name}", encoded(image.quantize(4), icc_profile=profile)
    inks = Image.fromarray(
        np.asarray([(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)], np.uint8)[indices()],
        "CMYK",
    )
    yield (
        "JPEG CMYK with its profile",
        encoded(inks, "JPEG", quality=98, subsampling=0, icc_profile=cmyk_profile(COLOURS)),
    )


def in_space(image: Image.Image, matrix: np.ndarray, gamma: float) -> Image.Image:
    """Return an sRGB image with the values that its colours have in another space."""
    found = np.linalg.inv(matrix) @ xyz(np.asarray(image).reshape(-1, 3)).T
    values = (found.T.clip(0, 1) ** (1 / gamma) * 255).round().astype(np.uint8)
    return Image.fromarray(values.reshape(image.height, image.width, 3))


def xyz(colours: np.ndarray) -> np.ndarray:
    """Return (n, 3) sRGB values as XYZ under D50."""
    light = colours / 255
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    return linear @ SRGB_TO_XYZ.T


def icc(space: bytes, connection: bytes, device: bytes, tags: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return an ICC profile, version 2."""
    parts = list(tags)
    at, table, body = 128 + 4 + 12 * len(parts), b"", b""
    for name, content in parts:
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02100000, device, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(parts)) + table + body


def fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def described(*tags: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    name = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    return [(b"desc", name), (b"cprt", b"text" + bytes(4) + b"none\0"), *tags]


def point(values: Iterable[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(fixed, values))


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(matrix: np.ndarray, gamma: float) -> bytes:
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    colours = [(name, point(column)) for name, column in zip(names, matrix.T, strict=True)]
    curves = [(name, curve(gamma)) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return icc(b"RGB ", b"XYZ ", b"mntr", described((b"wtpt", point(D50)), *colours, *curves))


def grey_profile(gamma: float) -> bytes:
    return icc(b"GRAY", b"XYZ ", b"mntr", described((b"wtpt", point(D50)), (b"kTRC", curve(gamma))))


def cmyk_profile(colours: Iterable[tuple[int, int, int]]) -> bytes:
    """Return the profile of a printer whose four inks have these colours; any two of them are black."""
    inks = {8 >> number: lab(colour) for number, colour in enumerate(colours)}
    corners = b"".join(
        bytes(inks.get(ink, lab((255, 255, 255) if not ink else (0, 0, 0)))) for ink in range(16)
    )
    same = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + b"".join(map(fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = head + same * 4 + corners + same * 3
    return icc(b"CMYK", b"Lab ", b"prtr", described((b"wtpt", point(D50)), (b"A2B0", table)))


def lab(colour: tuple[int, int, int]) -> list[int]:
    """Return a colour in CIELAB as the bytes of a profile's table."""
    t = xyz(np.asarray([colour]))[0] / D50
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return [round((116 * y - 16) * 2.55), round(500 * (x - y)) + 128, round(200 * (y - z)) + 128]
