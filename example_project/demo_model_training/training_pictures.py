"""The pictures that the model is trained on: far more varied than the shop's, so that it learns objects."""

from __future__ import annotations

import colorsys
import multiprocessing
import random

import numpy as np
import numpy.typing as npt

from .captions import Attributes
from .kinds import KINDS
from .rendering import BACKDROPS, COLOURS, RGB, Pose, Style, render

SIZE = 72
"""The width and height of a picture in pixels."""

# Hue in degrees, saturation and value: all shades that go by the colour's name.
COLOUR_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-9, 7), (0.7, 1.0), (0.62, 0.97)),
    "orange": ((20, 34), (0.75, 1.0), (0.86, 1.0)),
    "yellow": ((44, 57), (0.6, 1.0), (0.88, 1.0)),
    "green": ((90, 152), (0.4, 0.9), (0.36, 0.82)),
    "turquoise": ((167, 187), (0.5, 0.95), (0.6, 0.92)),
    "blue": ((205, 234), (0.55, 0.95), (0.45, 0.95)),
    "purple": ((262, 291), (0.4, 0.85), (0.4, 0.82)),
    "pink": ((320, 348), (0.3, 0.62), (0.9, 1.0)),
    "brown": ((14, 32), (0.45, 0.75), (0.26, 0.54)),
    "black": ((0, 360), (0.0, 0.16), (0.04, 0.2)),
    "grey": ((0, 360), (0.0, 0.1), (0.42, 0.68)),
    "white": ((0, 360), (0.0, 0.05), (0.93, 1.0)),
}


def training_set(count: int, seed: int, workers: int) -> tuple[list[Attributes], npt.NDArray[np.uint8]]:
    """Draw `count` pictures in several processes. Return what they show, and uint8 (count, 72, 72, 3)."""
    rng = random.Random(seed)
    patterns = ("plain", "plain", "striped", "dotted", "checked")
    shown = [
        Attributes(rng.choice(KINDS), rng.choice(list(COLOURS)), rng.choice(patterns)) for _ in range(count)
    ]
    tasks = [(attributes, seed * 1_000_003 + i) for i, attributes in enumerate(shown)]
    # Forked, so this must run before torch starts threads. Each picture has its own seed, so the number of
    # processes makes no difference.
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pictures = pool.map(training_picture, tasks, chunksize=64)
    return shown, np.stack(pictures)


def training_picture(task: tuple[Attributes, int]) -> npt.NDArray[np.uint8]:
    """Draw one picture from its attributes and seed: uint8 (72, 72, 3). 12 % are drawn as the shop draws."""
    attributes, seed = task
    assert attributes.kind and attributes.colour and attributes.pattern  # noqa: S101 (for the type checker)
    rng = random.Random(seed)
    pose, style = Pose(), Style()
    if rng.random() >= 0.12:
        pose, style = varied_pose(rng), varied_style(attributes.colour, rng)
    picture = render(
        attributes.kind, attributes.colour, attributes.pattern, size=SIZE, seed=seed, pose=pose, style=style
    )
    return np.asarray(picture)


def varied_pose(rng: random.Random) -> Pose:
    """Return a random pose: turned, moved, flipped, squeezed and sheared a little."""
    return Pose(
        rotation=rng.gauss(0, 7),
        scale=rng.uniform(0.68, 1.12),
        offset=(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)),
        flip=rng.random() < 0.5,
        squeeze=rng.uniform(0.82, 1.2),
        shear=rng.gauss(0, 0.06),
    )


def varied_style(colour: str, rng: random.Random) -> Style:
    """Return a random style, in a shade that goes by the name of the colour."""
    base = from_hsv(*(rng.uniform(*bounds) for bounds in COLOUR_RANGES[colour]))
    other = rng.choice((None, None, (255, 255, 255), from_hsv(0, 0, rng.random()), None))
    return Style(
        shading=rng.choice((0.0, 0.0, 0.5, 1.0, 1.3)),
        line_width=rng.choice((0.0, 0.0, 0.012, 0.03, 0.05)),
        line_brightness=rng.choice((0.05, 0.4, 0.72)),
        shadow=rng.choice((0.0, 0.0, 0.5, 1.0)),
        variation=rng.uniform(0.3, 1.7),
        wobble=rng.choice((0.0, 0.02, 0.05, 0.08)),
        contrast=rng.uniform(0.2, 1.3),
        backdrop=varied_backdrop(base, rng),
        base_colour=base,
        pattern_colour=other if other and difference(other, base) > 200 else None,
        light_from_left=rng.random() < 0.5,
    )


def varied_backdrop(base: RGB, rng: random.Random) -> tuple[RGB, RGB]:
    """Return a random background, most often a pale one, from which an object of this colour stands out."""
    for _ in range(20):
        draw, hue = rng.random(), rng.uniform(0, 360)
        if draw < 0.2:
            return rng.choice(BACKDROPS)
        if draw < 0.6:
            top = from_hsv(hue, rng.uniform(0, 0.2), rng.uniform(0.78, 1))
        elif draw < 0.85:
            top = from_hsv(hue, rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.95))
        else:
            top = from_hsv(hue, rng.uniform(0, 0.5), rng.uniform(0.05, 0.4))
        if difference(top, base) > 120:
            factor = rng.uniform(0.8, 1.05)
            bottom = top if rng.random() < 0.4 else tuple(min(255, round(c * factor)) for c in top)
            return top, bottom  # type: ignore[return-value]
    return BACKDROPS[0]


def from_hsv(hue: float, saturation: float, value: float) -> RGB:
    """Return the colour of a hue in degrees, and of a saturation and a value from 0 to 1."""
    r, g, b = colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value)
    return round(255 * r), round(255 * g), round(255 * b)


def difference(one: RGB, other: RGB) -> int:
    """Return the sum of the differences of red, green and blue."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
