"""Recognises the format of an image file by its first bytes, and removes damaged parts that are not needed.

Browsers ignore faults in parts that are not shown, such as a comment that is too long. Pillow refuses the
whole file, so these parts are removed before Pillow reads it.
"""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

SIGNATURES: Final = [
    (kind, re.compile(pattern, re.DOTALL | re.IGNORECASE if kind in ("SVG", "HTML") else re.DOTALL))
    for kind, pattern in (
        ("JPEG", rb"\xff\xd8\xff"),
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("GIF", rb"GIF8[79]a"),
        ("WEBP", rb"RIFF.{4}WEBP"),
        ("AVIF", rb".{4}ftyp(avi[fs]|(mif1|msf1|miaf).{4,40}avi[fs])"),
        ("HEIC", rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)"),
        ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
        ("JPEG 2000", rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
        ("BMP", rb"BM.{4}\0{4}"),
        ("ICO", rb"\0\0[\1\2]\0[^\0]\0"),
        ("TIFF", rb"II[*+]\0|MM\0[*+]"),
        ("PSD", rb"8BPS"),
        ("SVG", rb"(\xef\xbb\xbf)?\s*((<\?xml|<!--|<!DOCTYPE svg).{0,2000})?<svg[\s>]"),
        ("HTML", rb"(\xef\xbb\xbf)?\s*<(!DOCTYPE html|html|head|body)[\s>]"),
        ("PDF", rb"%PDF-"),
        ("EPS", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("video", rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI "),
    )
]
"""Patterns of the first bytes of each file format. People upload all of these as images."""
CHUNKS: Final = {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"IDAT", b"IEND"}
"""The chunks of a PNG that decide how it looks. An animation is shown as its still image."""
CRITICAL: Final = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
MARKER: Final = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")
SEGMENTS: Final = {0xE1: b"Exif\0\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
"""The APPn segments of a JPEG that are kept, with their first bytes: orientation, colours, kind of CMYK."""
START_OF_SCAN: Final = 0xDA
END: Final = b"\xff\xd9"
MOST_PARTS: Final = 20_000
"""The most parts of a PNG or JPEG that are read: 10 MiB of tiny parts would take seconds."""
LARGEST_PROFILE: Final = 1024 * 1024
"""In bytes. Pillow reads no larger colour profile of a PNG."""
MISSING: Final = 0.1
"""The part of an image that may be missing at its end, because browsers show the rest."""
KNOWN: Final = {
    "JPEG": "a JPEG image",
    "PNG": "a PNG image",
    "GIF": "a GIF image",
    "WEBP": "a WEBP image",
    "AVIF": "an AVIF image",
    "HEIC": "a HEIC image, which only some browsers show",
    "JPEG XL": "a JPEG XL image, which only some browsers show",
    "JPEG 2000": "a JPEG 2000 image",
    "BMP": "a BMP image",
    "ICO": "an icon (ICO)",
    "TIFF": "a TIFF image",
    "PSD": "a Photoshop document",
    "SVG": "an SVG drawing, which has no pixels before it is drawn",
    "HTML": "a web page (HTML), not an image",
    "PDF": "a PDF document",
    "EPS": "an EPS drawing",
    "video": "a video",
}
"""Names, for error messages, of the file formats that `inspect()` recognises."""


class ImageFile(NamedTuple):
    """An image file: its format, and its bytes without parts that are not needed."""

    kind: str
    """The format, such as "JPEG", or "" if it is unknown."""
    data: bytes
    lacks_end: bool = False
    """Whether the file ends too early."""


def inspect(data: bytes) -> ImageFile:
    """Return a file's format, and its bytes without parts that change nothing in how it looks."""
    kind = next((kind for kind, pattern in SIGNATURES if pattern.match(data)), "")
    if kind == "PNG":
        return ImageFile(kind, _png(data))
    if kind == "JPEG":
        return ImageFile(kind, *_jpeg(data))
    if kind == "WEBP":
        return ImageFile(kind, *_webp(data))
    return ImageFile(kind, data, kind == "AVIF" and _lacks_boxes(data))


def _png(data: bytes) -> bytes:
    """Return a PNG without the chunks that it does not need, and without damaged optional chunks."""
    kept, colour_type = [data[:8]], data[25:26]
    start = 8
    for _ in range(MOST_PARTS):
        kind, end = data[start + 4 : start + 8], start + 12 + int.from_bytes(data[start : start + 4])
        chunk = data[start:end]
        if kind in CRITICAL or (kind in CHUNKS and _is_sound(kind, chunk, colour_type)):
            kept.append(chunk)
        start = end
        if kind == b"IEND" or start >= len(data):
            break
    return b"".join(kept)


def _is_sound(kind: bytes, chunk: bytes, colour_type: bytes) -> bool:
    """Return whether an optional chunk of a PNG is undamaged."""
    body = chunk[8:-4]
    if zlib.crc32(kind + body) != int.from_bytes(chunk[-4:]):
        return False
    if kind == b"tRNS":
        sizes = {b"\0": [2], b"\2": [6], b"\3": range(1, 257)}
        return len(body) in sizes.get(colour_type, [])
    if kind == b"iCCP":
        _, _, packed = body.partition(b"\0")
        unpacking = zlib.decompressobj()
        try:
            unpacking.decompress(packed[1:], LARGEST_PROFILE)
        except zlib.error:
            return False
        return packed[:1] == b"\0" and unpacking.eof
    return True


def _jpeg(data: bytes) -> tuple[bytes, bool]:
    """Return a JPEG without the segments that it does not need, and whether its end marker is missing.

    Bytes between segments are removed. A missing end marker is added, because the decoder needs one.
    """
    kept, start = [data[:2]], 2
    for _ in range(MOST_PARTS):
        if not (found := MARKER.search(data, start)):
            break
        marker, at = found[1][0], found.end()
        if marker == START_OF_SCAN:
            lacks_end = data.rfind(END, at) < 0  # from the end, where it usually is
            return b"".join([*kept, memoryview(data)[at - 2 :], END if lacks_end else b""]), lacks_end
        start = at + max(int.from_bytes(data[at : at + 2]), 2)
        is_shown = not (0xE0 <= marker <= 0xEF or marker == 0xFE)
        if is_shown or (marker in SEGMENTS and data.startswith(SEGMENTS[marker], at + 2)):
            kept.append(data[at - 2 : start])
    return b"".join(kept), True


def _webp(data: bytes) -> tuple[bytes, bool]:
    """Return a WEBP, and whether its end is missing. If little is missing, zeros are appended."""
    missing = 8 + int.from_bytes(data[4:8], "little") - len(data)
    return (data + bytes(missing) if 0 < missing <= MISSING * len(data) else data), missing > 0


def _lacks_boxes(data: bytes) -> bool:
    """Return whether the last part (box) of an AVIF is incomplete."""
    start = 0
    while start < len(data) and (size := int.from_bytes(data[start : start + 4])) >= 8:
        start += size
    return start > len(data)
