"""Converts the colours of an image to those that a screen shows: sRGB, on a white background."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product
from typing import Final

from PIL import Image, ImageCms

ROWS: Final = 256
"""How many rows of a transparent image are pasted on white at once."""
LARGEST_PROFILE: Final = 4 * 1024 * 1024
"""In bytes. Colour profiles of printers have up to three million."""
MODES: Final = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "L"}
"""Pillow's image mode for each colour space that a profile may be made for."""
SAME: Final = 2
"""A profile that changes no value (0 to 255) by more than this counts as sRGB. Skipping it saves 4 ms."""
FAULTS: Final = (ImageCms.PyCMSError, OSError, TypeError, ValueError)
"""Exceptions that Pillow raises for a colour profile that it cannot use."""


def flattened(image: Image.Image) -> Image.Image:
    """Return an image in RGB. Transparent pixels become white, and 16-bit values become 8-bit values.

    A CMYK image with a colour profile stays in CMYK, because `in_srgb()` converts it.
    """
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode == "CMYK" and _mode_of_profile(image) == "CMYK":
        return image
    return image.convert("RGB") if image.mode != "RGB" else image


def in_srgb(flat: Image.Image, original: Image.Image) -> Image.Image:
    """Return the result of `flattened()` in sRGB, converted with the colour profile of the original image.

    Like browsers, it ignores a profile that is damaged or made for another kind of image.
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
    """Return the Pillow mode for which an image's colour profile is made. None without a usable profile."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > LARGEST_PROFILE:
        return None
    return MODES.get(profile[16:20])


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion from a profile to sRGB, or None if the profile is damaged or equals sRGB."""
    try:
        # threads share the conversion; without its cache, it has no state that changes
        transform = ImageCms.buildTransform(
            io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB", flags=ImageCms.Flags.NOCACHE
        )
        if mode == "RGB" and not _changes(transform):
            return None
    except FAULTS:
        return None
    return transform


def _changes(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a conversion changes any of 216 sample colours by more than `SAME`."""
    colours = bytes(value for colour in product(range(0, 256, 51), repeat=3) for value in colour)
    before = Image.frombytes("RGB", (len(colours) // 3, 1), colours)
    after = ImageCms.applyTransform(before, transform)
    changes = (
        abs(one - other) for one, other in zip(colours, after.tobytes() if after else b"", strict=True)
    )
    return max(changes) > SAME


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image on a white background. Only some rows are copied at a time, to save memory."""
    flat = Image.new("RGB", image.size, "white")
    for top in range(0, image.height, ROWS):
        rows = image.crop((0, top, image.width, min(top + ROWS, image.height))).convert("RGBA")
        flat.paste(rows, (0, top), rows)
    return flat


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Return a 16-bit grey image in RGB. Pillow's own conversion would make nearly all pixels white."""
    import numpy as np

    grey = np.asarray(image)
    small = (grey.clip(0, 65535) >> 8).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        small[grey == clear] = 255
    return Image.fromarray(small).convert("RGB")
