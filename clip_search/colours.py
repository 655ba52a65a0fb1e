"""The colours of an image as a screen shows them: in sRGB, on white."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product
from typing import Final

from PIL import Image, ImageCms

ROWS: Final = 256
"""Rows of a transparent image that are pasted on white at a time."""
LARGEST_PROFILE: Final = 4 * 1024 * 1024
"""Bytes: profiles of printers have up to three million."""
MODES: Final = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "L"}
"""The mode of Pillow for each kind of colours that a profile may be for."""
SAME: Final = 2
"""A profile that changes no colour by more than this, of 255, is sRGB itself: to use it takes 4 ms."""
FAULTS: Final = (ImageCms.PyCMSError, OSError, TypeError, ValueError)
"""What Pillow raises for a profile that it cannot use."""


def flattened(image: Image.Image) -> Image.Image:
    """Return an image without transparency, in RGB: transparent pixels become white, 16 bits become 8.

    CMYK with a profile stays as it is: it becomes RGB in `in_srgb()`.
    """
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode == "CMYK" and _mode_of_profile(image) == "CMYK":
        return image
    return image.convert("RGB") if image.mode != "RGB" else image


def in_srgb(flat: Image.Image, original: Image.Image) -> Image.Image:
    """Return a flattened image, resized or not, in sRGB, converted by the original's colour profile.

    A profile that is broken, or that is for another kind of image, is ignored, as browsers do.
    """
    mode = _mode_of_profile(original)
    is_grey = original.mode[0] in "LI1"
    if mode and mode == ("L" if is_grey else flat.mode):
        transform = _transform(original.info["icc_profile"], mode)
        if transform is not None:
            found = ImageCms.applyTransform(flat.convert(mode), transform)
            if found is not None:
                return found
    return flat.convert("RGB") if flat.mode != "RGB" else flat


def _mode_of_profile(image: Image.Image) -> str | None:
    """Return the mode of Pillow that an image's colour profile is for, or None."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > LARGEST_PROFILE:
        return None
    return MODES.get(profile[16:20])


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what converts to sRGB, or None if the profile is broken, or is sRGB itself."""
    try:
        # threads share it: without its cache of one pixel, nothing in it changes
        transform = ImageCms.buildTransform(
            io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB", flags=ImageCms.Flags.NOCACHE
        )
        if mode == "RGB" and not _changes(transform):
            return None
    except FAULTS:
        return None
    return transform


def _changes(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether colours of the whole range become others."""
    colours = bytes(value for colour in product(range(0, 256, 51), repeat=3) for value in colour)
    before = Image.frombytes("RGB", (len(colours) // 3, 1), colours)
    after = ImageCms.applyTransform(before, transform)
    changes = (
        abs(one - other) for one, other in zip(colours, after.tobytes() if after else b"", strict=True)
    )
    return max(changes) > SAME


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image on white. Some rows at a time, because the whole would be held twice."""
    flat = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, ROWS):
        rows = image.crop((0, top, image.width, min(top + ROWS, image.height))).convert("RGBA")
        flat.paste(rows, (0, top), rows)
    return flat


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit grey as RGB. Pillow's own conversion clips all but the darkest values to white."""
    import numpy as np

    grey = np.asarray(image)
    small = (grey.clip(0, 65535) >> 8).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        small[grey == clear] = 255
    return Image.fromarray(small).convert("RGB")
