"""Bytes → a safe, upright, small RGB image.

Pillow's own limits are global and belong to the host, and `warnings.catch_warnings` is not safe in
threads: so dimensions are checked here, after the header is read and before anything is decoded.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from PIL import ExifTags, Image, UnidentifiedImageError

from . import colours, image_files
from .conf import conf
from .exceptions import BadImage
from .image_files import MISSING, ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK: Final = 1024 * 1024
"""Bytes a read: a remote storage then never hands over much more than the limit."""
AT_ONCE: Final = 20_000_000
"""Pixels that all threads of a process decode at the same time: 50 to 200 MB, depending on the format."""
WEIGHTS: Final = {"WEBP": 1.6}
"""How much a pixel of a format counts: the decoder of WEBP holds four copies of the picture."""
BLOCK: Final = 64 * 1024 * 1024
"""Bytes: from 32 MiB on, glibc asks the system for each piece of memory and returns it."""
DRAFT_FACTOR: Final = 2
"""A JPEG is decoded at no less than this multiple of the model's side: a third of the time, same vector."""
SMALLEST_SIDE: Final = 2
"""Pixels: anything thinner is a tracking pixel or a placeholder."""
STRIP: Final = 16
"""Times its shorter side: the ends of a longer image are cut off before it is resized."""

FAULTS: Final = (
    Image.DecompressionBombError,
    Warning,  # where the host turns warnings into errors
    OSError,  # with UnidentifiedImageError: unknown or truncated
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise for damaged and hostile files."""

_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
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
"""What files are that are recognised by their first bytes."""
FRAMES: Final = 10
"""Frames of an animation that are looked at for one that is not blank."""
LARGEST_ANIMATION: Final = 2_000_000
"""Pixels: of a larger one only the first frame is decoded, because another takes as much memory again."""
BLANK: Final = ((255, 255),) * 3
"""The lowest and highest values of an image that is all white."""

_ALIASES: Final = {"MPO": "JPEG"}  # a phone's JPEG with a second picture behind the first


class Budget:
    """A number of pixels that threads share. A request for more than that waits for all of them."""

    def __init__(self, pixels: int) -> None:
        self.pixels = self._left = pixels
        self._turn = threading.Lock()  # so that small requests do not keep a large one waiting for ever
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: float) -> Iterator[None]:
        """Reserve `pixels` of the budget for the block, waiting until they are free."""
        share = min(math.ceil(pixels), self.pixels)  # an integer, because sums of floats drift
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._left >= share)
            self._left -= share
        try:
            yield
        finally:
            with self._changed:
                self._left += share
                self._changed.notify()


_budget = Budget(AT_ONCE)


def release_memory_early() -> None:
    """Make Pillow allocate a large picture in one block, which is returned to the system with the picture.

    Much of its usual blocks of 16 MiB stays with the process. Only for our own processes: the setting is
    global.
    """
    Image.core.set_block_size(BLOCK)  # type: ignore[attr-defined]


def read(source: IO[bytes]) -> bytes:
    """Return the file's bytes. Raises BadImage if it is missing, empty or too large.

    Other errors of the storage are raised as they are: they may be temporary.
    """
    limit = conf.max_image_bytes
    parts: list[bytes] = []
    left = limit + 1
    try:
        while left and (part := source.read(min(CHUNK, left))):
            parts.append(part)
            left -= len(part)
    except FileNotFoundError as error:
        name = Path(str(error.filename or error)).name
        raise BadImage(f"The image file is missing: {name}. Upload it again.") from error
    if not parts:
        raise BadImage("The image file is empty. Upload it again.")
    if not left:
        raise _too_many_bytes()
    return b"".join(parts)


def content_hash(data: bytes) -> str:
    """Return the first 16 bytes of the SHA-256 of a file's bytes, as hex digits.

    Current CPUs have instructions for SHA-256: it takes half as long as BLAKE2b.
    """
    return hashlib.sha256(data).hexdigest()[:32]


def check(source: IO[bytes]) -> str:
    """Return an upload's format, such as "JPEG", by its header; no pixel is decoded.

    The file is left at its start. Raises BadImage if it is no image, has a format that is not in
    CLIP_SEARCH["IMAGE_FORMATS"], or is too large or too small. A damaged body is only found by `shrink()`.
    """
    try:
        size = source.seek(0, os.SEEK_END)
        if not size:
            raise BadImage("The image file is empty. Upload it again.")
        if size > conf.max_image_bytes:
            raise _too_many_bytes()
        source.seek(0)
        with _opened(image_files.inspect(source.read())) as image:
            return str(_ALIASES.get(image.format or "", image.format))
    finally:
        source.seek(0)


def shrink(data: bytes, size: int) -> NDArray[np.uint8]:
    """Return the image's first frame upright, in sRGB on white, as uint8 (size, size, 3). Raises BadImage.

    Its shorter side is resized to `size`, bicubic, and its middle cut out, as CLIP's own processor does. If
    the first frame of an animation is blank, the first that is not is taken.
    """
    import numpy as np

    file = image_files.inspect(data)
    with ExitStack() as reserved, _opened(file) as image:
        whole = _weight(image)
        drafted = bool(image.draft(None, (DRAFT_FACTOR * size, DRAFT_FACTOR * size)))  # None unless a JPEG
        # the decoder of a progressive JPEG holds all of its pixels, however few it returns
        reserved.enter_context(_budget.taken(whole if image.info.get("progressive") else _weight(image)))
        _decode(image, lacks_end=file.lacks_end)
        small = _small(image, size, rounded=drafted)
        for frame in range(1, FRAMES if whole <= LARGEST_ANIMATION else 1):
            if small.getextrema() != BLANK or not _seek(image, frame):
                break
            small = _small(image, size, rounded=drafted)
        turn = _TRANSPOSE.get(_orientation(image))
        return np.asarray(small if turn is None else small.transpose(turn))


def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return the result of `shrink()` as a Pillow image, for a model that prepares the pixels itself."""
    return Image.fromarray(pixels)


def encoded(picture: Image.Image, side: int) -> bytes:
    """Return a host's Pillow image as a PNG of at most this side, upright as it is. Raises BadImage."""
    buffer = io.BytesIO()
    try:
        flat = colours.flattened(picture)
        small = flat.copy() if flat is picture else flat
        small.thumbnail((side, side))
        colours.in_srgb(small, picture).save(buffer, "PNG", exif=picture.getexif(), icc_profile=None)
    except FAULTS as error:  # it is read from its file only now
        raise _unreadable(error) from error
    return buffer.getvalue()


@contextmanager
def _opened(file: ImageFile) -> Iterator[Image.Image]:
    """Open an image whose dimensions are within the limits. Turn the errors of Pillow into BadImage."""
    try:
        if file.kind in KNOWN and file.kind not in _formats():
            raise BadImage(f"The file is {KNOWN[file.kind]}. Upload one of {', '.join(_formats())}.")
        with Image.open(io.BytesIO(file.data), formats=_formats()) as image:
            _check_dimensions(image)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"The image has too many pixels. {_pixels_allowed()}") from error
    except UnidentifiedImageError as error:
        if file.kind in _formats():
            raise _unreadable(_reason(file) or error, lacks_end=file.lacks_end) from error
        raise BadImage(f"The file is not a readable image. Upload one of {', '.join(_formats())}.") from error
    except FAULTS as error:
        raise _unreadable(error, lacks_end=file.lacks_end) from error


def _reason(file: ImageFile) -> Exception | None:
    """Return the error for which Pillow did not open a file of a known format, which it does not say."""
    factory, _ = Image.OPEN[file.kind]
    try:
        factory(io.BytesIO(file.data), "")
    except FAULTS as error:
        return error
    return None


def _unreadable(error: Exception, *, lacks_end: bool = False) -> BadImage:
    """Return the error for an image that is damaged, or that Pillow cannot read."""
    cause = f"{type(error).__name__}: {error}"
    if lacks_end or isinstance(error, EOFError) or "truncated" in str(error).lower():
        return BadImage(f"The image is truncated, its end is missing ({cause}). Upload it again.")
    return BadImage(
        f"The image is corrupt, or of a rare kind that cannot be read ({cause}). Upload it again, saved anew "
        "as a JPEG or PNG."
    )


def _decode(image: Image.Image, *, lacks_end: bool) -> None:
    """Decode an image. One without its end is read if nearly all of its rows are there."""
    try:
        image.load()
    except OSError:
        image.tile = []  # type: ignore[attr-defined]  # what was decoded can then be looked at
        if image.format not in ("PNG", "GIF") or _lacks_rows(image, 0):
            raise
    else:
        if lacks_end and image.format == "JPEG" and _lacks_rows(image, 128):
            raise EOFError("too few of its rows are there")


def _lacks_rows(image: Image.Image, empty: int) -> bool:
    """Return whether too much is missing at the end: pixels that were not decoded have the value `empty`."""
    import numpy as np

    row = int(image.height * (1 - MISSING)) | 1  # of an interlaced image, the odd rows come last
    if row >= image.height:
        row = image.height - 1
    values = np.asarray(image.crop((0, row, image.width, row + 1)))
    return bool((abs(values.astype(np.int32) - empty) <= 1).all())


def _small(image: Image.Image, size: int, *, rounded: bool) -> Image.Image:
    """Return a decoded image as RGB (size, size)."""
    return colours.in_srgb(_square(colours.flattened(image), size, rounded=rounded), image)


def _seek(image: Image.Image, frame: int) -> bool:
    """Decode another frame. Return False if there is none that can be read."""
    try:
        image.seek(frame)
        image.load()
    except FAULTS:
        return False
    return True


def _check_dimensions(image: Image.Image) -> None:
    """Raise BadImage if the image would cost too much to decode, or is too small."""
    if _weight(image) > conf.max_image_pixels:
        raise BadImage(
            f"The image has {image.width} × {image.height} pixels. {_pixels_allowed(image.format)}"
        )
    if min(image.size) < SMALLEST_SIDE:
        raise BadImage(
            f"The image has {image.width} × {image.height} pixels: too small to show anything. "
            "Upload a larger one."
        )


def _weight(image: Image.Image) -> float:
    """Return how many pixels of the budget the whole image takes."""
    return image.width * image.height * WEIGHTS.get(image.format or "", 1.0)


def _square(image: Image.Image, size: int, *, rounded: bool) -> Image.Image:
    """Resize the shorter side to `size`, then cut out the middle: the order gives CLIP's own pixels.

    The pixels of a reduced image may be `rounded`: then what is cut off is not computed. Pillow may then
    resize the height before the width, and it clips in between: some values differ, in a photo by 1 or 2.
    """
    image = _middle_of_strip(image)
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    middle = (left, top, left + size, top + size)
    if short < size or not rounded:
        return image.resize((width, height), Image.Resampling.BICUBIC).crop(middle)
    x, y = image.width / width, image.height / height
    edges = (left * x, top * y, (left + size) * x, (top + size) * y)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=edges)


def _middle_of_strip(image: Image.Image) -> Image.Image:
    """Cut off the ends of a strip, whose middle alone is used: 2 × 10,000,000 pixels would become 3 GB."""
    limit = STRIP * min(image.size)
    if max(image.size) <= limit:
        return image
    width, height = (min(side, limit) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; an image whose EXIF is broken is taken as upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except FAULTS:
        return 1


def _formats() -> list[str]:
    return [name.upper() for name in conf.image_formats]


def _pixels_allowed(kind: str | None = None) -> str:
    allowed = int(conf.max_image_pixels / WEIGHTS.get(kind or "", 1.0))
    of_kind = f" of a {kind}" if kind in WEIGHTS else ""
    return f'CLIP_SEARCH["MAX_IMAGE_PIXELS"] allows {allowed}{of_kind}. Upload a smaller one.'


def _too_many_bytes() -> BadImage:
    return BadImage(
        f'The image is larger than CLIP_SEARCH["MAX_IMAGE_BYTES"], {conf.max_image_bytes} bytes. '
        "Upload a smaller one."
    )
