"""Reads image files safely: checks them, and turns their bytes into small, upright RGB images.

The dimensions of an image are checked here, after its header is read and before its pixels are decoded.
Pillow's own limit is not used, because it is global, and so for the shop to set.
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
from .image_files import KNOWN, MISSING, ImageFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK: Final = 1024 * 1024
"""Bytes in one read, so that a remote storage does not send much more than the limit allows."""
AT_ONCE: Final = 20_000_000
"""The most pixels that the threads of a process decode at the same time. They take 50 to 200 MB."""
WEIGHTS: Final = {"WEBP": 1.6}
"""How many pixels one pixel of a format counts as: WEBP's decoder keeps four copies of the image."""
BLOCK: Final = 64 * 1024 * 1024
"""Bytes in one block of Pillow's memory. glibc returns freed blocks of 32 MiB and more to the system."""
DRAFT_FACTOR: Final = 2
"""A JPEG is decoded at this multiple of the model's image size or more, which takes half of the time. With a
smaller multiple, the vectors differ more (see `tests.benchmarks.decoding`)."""
REDUCING_GAP: Final = 1.1
"""Blocks of pixels of a drafted JPEG are averaged before it is resized, but not below this multiple of the
image size. This takes half of the time, and the vectors stay practically the same."""
SMALLEST_SIDE: Final = 2
"""In pixels. An image with a smaller side is a tracking pixel or a placeholder."""
STRIP: Final = 16
"""If an image is longer than this multiple of its shorter side, its ends are cut off first."""

FAULTS: Final = (
    Image.DecompressionBombError,
    Warning,  # if the shop turns warnings into errors
    OSError,  # also UnidentifiedImageError
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
"""Exceptions that Pillow raises for damaged and malicious files."""

_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FRAMES: Final = 10
"""The most frames of an animation that are searched for one that is not blank."""
LARGEST_ANIMATION: Final = 2_000_000
"""In pixels. Of a larger animation, only the first frame is decoded, to save memory."""
WHITE: Final = (255, 255, 255)

_ALIASES: Final = {"MPO": "JPEG"}  # a JPEG of some phones, with a second picture after the first


class Budget:
    """Limits how many pixels all threads together decode at the same time."""

    def __init__(self, pixels: int) -> None:
        self.pixels = self._left = pixels
        self._turn = threading.Lock()  # so that many small images do not make a large one wait for ever
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: float) -> Iterator[None]:
        """Reserve `pixels` of the budget during the block. Wait until they are free.

        An image with more pixels than the budget waits until nothing is reserved.
        """
        share = min(math.ceil(pixels), self.pixels)  # an integer, because sums of floats are inexact
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._left >= share)
            self._left -= share
        try:
            yield
        finally:
            with self._changed:
                self._left += share
                self._changed.notify()


budget = Budget(AT_ONCE)


def release_memory_early() -> None:
    """Make Pillow allocate a large image in one block of memory, which returns to the system with the image.

    Pillow's usual blocks of 16 MiB often stay with the process. Call this only in workers and commands,
    because it changes a global setting of Pillow.
    """
    Image.core.set_block_size(BLOCK)  # type: ignore[attr-defined]


def read(source: IO[bytes]) -> bytes:
    """Return the bytes of an image file. Raises BadImage if the file is missing, empty or too large.

    Other exceptions of the storage are not caught, because they may be temporary.
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
    """Return the first 16 bytes of the SHA-256 hash of `data`, as hex digits.

    SHA-256 takes half as long as BLAKE2b, because current CPUs have instructions for it.
    """
    return hashlib.sha256(data).hexdigest()[:32]


def check(source: IO[bytes]) -> str:
    """Return the format of an uploaded image, such as "JPEG". No pixel is decoded.

    Raises BadImage if the file is no image, is too large or too small, or has a format that is not in
    CLIP_SEARCH["IMAGE_FORMATS"]. Damage after the header is found only by `shrink()`. Afterwards, the
    position in the file is 0.
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
    """Return an image as a uint8 array of shape (size, size, 3), upright, in sRGB, on white.

    The shorter side is resized to `size` (bicubic), and the middle is cut out, as CLIP's own processor does.
    Of an animation, the first frame that is not blank is used. Raises BadImage if the image cannot be read.
    """
    import numpy as np

    file = image_files.inspect(data)
    with ExitStack() as reserved, _opened(file) as image:
        whole = _weight(image)
        drafted = bool(image.draft(None, (DRAFT_FACTOR * size, DRAFT_FACTOR * size)))
        # Only a JPEG is drafted. The decoder of a progressive JPEG needs memory for all pixels nevertheless.
        reserved.enter_context(budget.taken(whole if image.info.get("progressive") else _weight(image)))
        _decode(image, lacks_end=file.lacks_end)
        small = _small(image, size, rounded=drafted)
        for frame in range(1, FRAMES if whole <= LARGEST_ANIMATION else 1):
            if not _is_blank(small) or not _seek(image, frame):
                break
            small = _small(image, size, rounded=drafted)
        turn = _TRANSPOSE.get(_orientation(image))
        return np.asarray(small if turn is None else small.transpose(turn))


def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return pixels from `shrink()` as a Pillow image, for models that need one."""
    return Image.fromarray(pixels)


def encoded(picture: Image.Image, side: int) -> bytes:
    """Return a Pillow image as the bytes of a PNG. It is shrunk if a side is longer than `side`.

    Raises BadImage if Pillow cannot read the image.
    """
    buffer = io.BytesIO()
    try:
        flat = colours.flattened(picture)
        small = flat.copy() if flat is picture else flat
        small.thumbnail((side, side))
        colours.in_srgb(small, picture).save(buffer, "PNG", exif=picture.getexif(), icc_profile=None)
    except FAULTS as error:  # Pillow reads the pixels from the file only now
        raise _unreadable(error) from error
    return buffer.getvalue()


@contextmanager
def _opened(file: ImageFile) -> Iterator[Image.Image]:
    """Open an image file during the block. Turn Pillow's exceptions in the block into BadImage.

    Raises BadImage also if the format or the dimensions are not allowed.
    """
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
    """Return the exception because of which Pillow could not open a file of a known format.

    `Image.open()` hides it.
    """
    factory, _ = Image.OPEN[file.kind]
    try:
        factory(io.BytesIO(file.data), "")
    except FAULTS as error:
        return error
    return None


def _unreadable(error: Exception, *, lacks_end: bool = False) -> BadImage:
    """Return a BadImage for an image that is damaged or that Pillow cannot read."""
    if isinstance(error, MemoryError):
        return BadImage("The image needs more memory than there is. Upload a smaller one.")
    cause = f"{type(error).__name__}: {error}"
    if lacks_end or isinstance(error, EOFError) or "truncated" in str(error).lower():
        return BadImage(f"The image is truncated, its end is missing ({cause}). Upload it again.")
    return BadImage(
        f"The image is corrupt, or of a rare kind that cannot be read ({cause}). Upload it again, saved anew "
        "as a JPEG or PNG."
    )


def _decode(image: Image.Image, *, lacks_end: bool) -> None:
    """Decode an image. If its end is missing, accept the image if nearly all of its rows are there.

    Otherwise raise OSError or EOFError.
    """
    try:
        image.load()
    except OSError:
        image.tile = []  # type: ignore[attr-defined]  # makes the decoded part readable
        if image.format not in ("PNG", "GIF") or _lacks_rows(image, 0):
            raise
    else:
        if lacks_end and image.format == "JPEG" and _lacks_rows(image, 128):
            raise EOFError("too many rows of pixels are missing")


def _lacks_rows(image: Image.Image, empty: int) -> bool:
    """Return whether too many rows are missing at the end. `empty` is the value of missing pixels."""
    import numpy as np

    row = int(image.height * (1 - MISSING)) | 1  # in an interlaced image, the odd rows come last
    if row >= image.height:
        row = image.height - 1
    values = np.asarray(image.crop((0, row, image.width, row + 1)))
    return bool((abs(values.astype(np.int32) - empty) <= 1).all())


def _small(image: Image.Image, size: int, *, rounded: bool) -> Image.Image:
    """Return a decoded image in RGB, with `size` × `size` pixels."""
    return colours.in_srgb(_square(colours.flattened(image), size, rounded=rounded), image)


def _is_blank(image: Image.Image) -> bool:
    """Return whether an RGB image is white. It is fast because it ends at the second colour."""
    return [colour for _, colour in image.getcolors(maxcolors=1) or ()] == [WHITE]


def _seek(image: Image.Image, frame: int) -> bool:
    """Decode another frame of an animation. Return False if there is no such frame or it is damaged."""
    try:
        image.seek(frame)
        image.load()
    except FAULTS:
        return False
    return True


def _check_dimensions(image: Image.Image) -> None:
    """Raise BadImage if the image has too many pixels to decode, or a side that is too short."""
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
    """Return how many pixels of the budget the image needs: see `WEIGHTS`."""
    return image.width * image.height * WEIGHTS.get(image.format or "", 1.0)


def _square(image: Image.Image, size: int, *, rounded: bool) -> Image.Image:
    """Resize the shorter side to `size`, and then cut out the middle, as CLIP's own processor does.

    If `rounded` is True and the image gets smaller, only the middle is resized, in two steps: this is faster.
    Then most values differ by 0 or 1, and some at edges by up to 30.
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
    return image.resize((size, size), Image.Resampling.BICUBIC, box=edges, reducing_gap=REDUCING_GAP)


def _middle_of_strip(image: Image.Image) -> Image.Image:
    """Cut off the ends of a very long image, of which only the middle is used.

    Otherwise resizing an image of 2 × 10,000,000 pixels would need 3 GB.
    """
    limit = STRIP * min(image.size)
    if max(image.size) <= limit:
        return image
    width, height = (min(side, limit) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, or 1 (upright) if its EXIF data is damaged."""
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
