"""Draw pictures of products: `render()` colours, patterns and lights the shapes of `kinds`.

Only Pillow and numpy are used. Everything follows from the arguments: the same call draws the same picture.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from .kinds import Part, draw_parts
from .outlines import Outline, Point

RGB = tuple[int, int, int]
Pixels = npt.NDArray[np.float32]

COLOURS: dict[str, RGB] = {
    "red": (206, 38, 44),
    "orange": (240, 126, 28),
    "yellow": (246, 203, 46),
    "green": (58, 148, 72),
    "turquoise": (48, 190, 184),
    "blue": (38, 92, 196),
    "purple": (120, 62, 166),
    "pink": (242, 136, 178),
    "brown": (122, 76, 44),
    "black": (40, 40, 44),
    "grey": (138, 142, 148),
    "white": (244, 243, 239),
}
PATTERNS = ("plain", "striped", "dotted", "checked")

# Colours of parts that do not take the product's colour, such as a wooden handle.
MATERIALS: dict[str, RGB] = {
    "wood": (196, 150, 100),
    "metal": (182, 186, 192),
    "dark": (46, 46, 52),
    "paper": (250, 248, 242),
    "glow": (255, 240, 196),
    "brass": (206, 170, 92),
    "leaf": (96, 140, 84),
    "gloss": (255, 255, 255),
}
# Factors for the product's colour: "shade" for sides that face away from the light, "deep" for hollows.
TONES: dict[str, float] = {"body": 1.0, "shade": 0.78, "deep": 0.5, "tint": 1.14}

BACKDROPS: tuple[tuple[RGB, RGB], ...] = (
    ((247, 245, 241), (222, 217, 209)),
    ((240, 245, 248), (208, 218, 226)),
    ((248, 242, 238), (228, 212, 203)),
    ((241, 246, 240), (211, 222, 208)),
    ((246, 242, 248), (219, 212, 226)),
    ((249, 246, 235), (229, 221, 197)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """The object's position. Rotation is in degrees; offsets are fractions of the picture's width."""

    rotation: float = 0.0
    scale: float = 1.0
    offset: Point = (0.0, 0.0)
    flip: bool = False
    squeeze: float = 1.0
    shear: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How the picture is drawn. The defaults give the shop's pictures; training varies all of it."""

    shading: float = 1.0
    """0 draws a flat icon, 1 the light of the shop's pictures."""
    line_width: float = 0.012
    """The width of the line along a part's edge, in object units."""
    line_brightness: float = 0.72
    """The colour of that line, as a factor of the part's colour."""
    shadow: float = 1.0
    variation: float = 0.5
    """How far proportions may differ from the usual ones of the kind."""
    wobble: float = 0.0
    """How far outlines are bent, in object units."""
    contrast: float = 1.0
    """How far darker and lighter tones lie apart."""
    backdrop: tuple[RGB, RGB] | None = None
    """The background's colours at the top and at the bottom. None: one of `BACKDROPS`, chosen by the seed."""
    base_colour: RGB | None = None
    """The product's colour. None: the named one of `COLOURS`."""
    pattern_colour: RGB | None = None
    """The pattern's second colour. None: cream or slate, see `default_pattern_colour`."""
    light_from_left: bool = True


SHOP_STYLE = Style()
UPRIGHT = Pose()


def shading(light: str, width: int, height: int, *, from_left: bool) -> Pixels:
    """Return the brightness factor of every pixel of a part: float32 (height, width), about 1."""
    u = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    v = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    u = u if from_left else 1 - u
    if light == "round":
        return 0.74 + 0.34 * np.exp(-(((u - 0.32) / 0.34) ** 2)) - 0.05 * v
    if light == "ball":
        distance = (u - 0.34) ** 2 + (v - 0.28) ** 2
        return 1.12 - 0.62 * np.minimum(distance, 0.75)
    if light == "cloth":
        folds = 0.025 * np.sin(u * 19 + v * 4) + 0.02 * np.sin(u * 7 - v * 9)
        return 1.07 - 0.16 * u - 0.1 * v + folds
    if light == "flat":
        return 1.06 - 0.1 * u - 0.1 * v
    return np.ones((1, 1), np.float32) + 0 * (u + v)


def pattern_weight(pattern: str, x: Pixels, y: Pixels, period: float, tilt: float) -> Pixels:
    """Return the share of the second colour at the object coordinates (x, y): from 0 to 1, same shape."""
    a = (x * math.cos(tilt) + y * math.sin(tilt)) / period
    b = (y * math.cos(tilt) - x * math.sin(tilt)) / period
    if pattern == "striped":
        return (np.abs(b % 1 - 0.5) < 0.2).astype(np.float32)
    if pattern == "checked":
        return 0.5 * ((a % 1 < 0.5).astype(np.float32) + (b % 1 < 0.5).astype(np.float32))
    row = np.floor(b)
    dx, dy = (a + 0.5 * (row % 2)) % 1 - 0.5, b % 1 - 0.5
    return (dx * dx + dy * dy < 0.075).astype(np.float32)


def default_pattern_colour(base: RGB) -> RGB:
    """Return the pattern's second colour: cream, or slate if the product is too pale for cream."""
    return (112, 122, 140) if min(base) > 215 else (250, 247, 240)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The map from object units to the pixels of a square canvas of `side` pixels."""

    side: int
    matrix: tuple[float, float, float, float]
    """By rows: pixels = matrix · (x, y) + origin."""
    origin: Point

    def to_pixels(self, outline: Outline) -> Outline:
        """Return the pixel coordinates of an outline."""
        a, b, c, d = self.matrix
        ox, oy = self.origin
        return [(a * x + b * y + ox, c * x + d * y + oy) for x, y in outline]

    def to_object(self, px: Pixels, py: Pixels) -> tuple[Pixels, Pixels]:
        """Return the object coordinates of pixels."""
        a, b, c, d = self.matrix
        det = a * d - b * c
        dx, dy = px - self.origin[0], py - self.origin[1]
        return (d * dx - b * dy) / det, (a * dy - c * dx) / det

    @property
    def pixels_per_unit(self) -> float:
        a, b, c, d = self.matrix
        return math.sqrt(abs(a * d - b * c))


def projection(pose: Pose, side: int) -> Projection:
    """Return the map that puts an object into this pose on a canvas of `side` × `side` pixels."""
    angle, unit = math.radians(pose.rotation), 0.4 * side * pose.scale
    width = unit * pose.squeeze * (-1 if pose.flip else 1)
    height = unit / max(0.3, pose.squeeze)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = (width * cos, (pose.shear * cos - sin) * height, width * sin, (pose.shear * sin + cos) * height)
    origin = ((0.5 + pose.offset[0]) * side, (0.5 + pose.offset[1]) * side)
    return Projection(side=side, matrix=matrix, origin=origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The colours of one product and the geometry of its pattern."""

    base_colour: RGB
    pattern_colour: RGB
    pattern: str
    period: float
    tilt: float
    contrast: float = 1.0

    def colour_of(self, tone: str) -> RGB:
        """Return the colour of a part's tone: a material's, or the product's own made darker or lighter."""
        if tone in MATERIALS:
            return MATERIALS[tone]
        return scaled(self.base_colour, 1 + (TONES[tone] - 1) * self.contrast)


def scaled(colour: RGB, factor: float) -> RGB:
    """Return a darker or lighter colour. Lighter ones move towards white, which works for every colour."""
    if factor > 1:
        return tuple(round(c + (255 - c) * (factor - 1)) for c in colour)  # type: ignore[return-value]
    # Without this lift, hollows of black products would be invisible.
    lift = 16 if max(colour) < 60 else 0
    return tuple(round(c * factor) + lift for c in colour)  # type: ignore[return-value]


def backdrop(side: int, colours: tuple[RGB, RGB]) -> Image.Image:
    """Return the background: an RGB picture, a vertical gradient that is brighter in the middle."""
    top, bottom = (np.asarray(c, np.float32) for c in colours)
    v = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    u = np.linspace(-1, 1, side, dtype=np.float32)[None, :, None]
    glow = 1 + 0.03 * (1 - u * u) * (1 - np.abs(2 * v - 0.9))
    pixels = np.clip((top * (1 - v) + bottom * v) * glow, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8), "RGB")


def cast_shadow(canvas: Image.Image, points: Outline, strength: float) -> None:
    """Darken the ground under the object with a blurred ellipse, drawn small and enlarged for speed."""
    small = max(16, canvas.width // 8)
    ratio = small / canvas.width
    xs, ys = [p[0] * ratio for p in points], [p[1] * ratio for p in points]
    middle, half, ground = (min(xs) + max(xs)) / 2, (max(xs) - min(xs)) / 2, max(ys)
    mask = Image.new("L", (small, small), 0)
    draw = ImageDraw.Draw(mask)
    flat = max(1.0, half * 0.16)
    draw.ellipse((middle - half, ground - flat, middle + half, ground + flat), fill=round(105 * strength))
    draw.ellipse(
        (middle - half * 0.7, ground - flat / 2, middle + half * 0.7, ground + flat / 2),
        fill=round(165 * strength),
    )
    soft = mask.filter(ImageFilter.GaussianBlur(small / 34)).resize(canvas.size, Image.Resampling.BICUBIC)
    canvas.paste((58, 52, 56), (0, 0), soft)


def fill_pixels(
    part: Part, surface: Surface, style: Style, view: Projection, bounds: tuple[int, int, int, int]
) -> Image.Image:
    """Return the part's bounding box filled with its colour, pattern and light, as an RGB picture."""
    x0, y0, x1, y1 = bounds
    width, height = x1 - x0, y1 - y0
    colour = np.asarray(surface.colour_of(part.tone), np.float32)
    pixels: Pixels = np.broadcast_to(colour, (height, width, 3))
    if part.patterned and surface.pattern != "plain":
        px = np.arange(x0, x1, dtype=np.float32)[None, :]
        py = np.arange(y0, y1, dtype=np.float32)[:, None]
        x, y = view.to_object(px, py)
        weight = pattern_weight(surface.pattern, x, y, surface.period, surface.tilt)[..., None]
        pixels = pixels * (1 - weight) + np.asarray(surface.pattern_colour, np.float32) * weight
    if style.shading and part.light != "none":
        factor = 1 + style.shading * (shading(part.light, width, height, from_left=style.light_from_left) - 1)
        pixels = pixels * factor[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def paint_part(canvas: Image.Image, part: Part, surface: Surface, style: Style, view: Projection) -> None:
    """Paint one part on the canvas, with a darker line along the inside of its edge."""
    points = view.to_pixels(part.outline)
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x0, y0 = max(0, math.floor(min(xs))), max(0, math.floor(min(ys)))
    x1, y1 = min(view.side, math.ceil(max(xs)) + 1), min(view.side, math.ceil(max(ys)) + 1)
    if x1 <= x0 or y1 <= y0:
        return
    local = [(x - x0, y - y0) for x, y in points]
    mask = Image.new("L", (x1 - x0, y1 - y0), 0)
    draw = ImageDraw.Draw(mask)
    draw.polygon(local, fill=round(255 * part.opacity))
    for hole in part.holes:
        draw.polygon([(x - x0, y - y0) for x, y in view.to_pixels(hole)], fill=0)
    fill = fill_pixels(part, surface, style, view, (x0, y0, x1, y1))
    if style.line_width and part.light != "none":
        line = scaled(surface.colour_of(part.tone), style.line_brightness)
        width = max(1, round(2 * style.line_width * view.pixels_per_unit))
        ImageDraw.Draw(fill).line([*local, local[0]], fill=line, width=width, joint="curve")
    canvas.paste(fill, (x0, y0), mask)


def render(
    kind: str,
    colour: str,
    pattern: str = "plain",
    *,
    size: int = 512,
    seed: int = 0,
    pose: Pose = UPRIGHT,
    style: Style = SHOP_STYLE,
) -> Image.Image:
    """Return a picture of a product: RGB, `size` × `size` pixels.

    The seed determines proportions, details and background. Raise KeyError for a kind that is not in `KINDS`
    or a colour that is not in `COLOURS`.
    """
    rng = random.Random(f"{kind}/{seed}")
    parts = draw_parts(kind, rng, variation=style.variation, wobble=style.wobble)
    base = style.base_colour or COLOURS[colour]
    tilt = rng.choice((0.0, 0.0, math.pi / 2, math.pi / 4)) if pattern == "striped" else 0.0
    surface = Surface(
        base_colour=base,
        pattern_colour=style.pattern_colour or default_pattern_colour(base),
        pattern=pattern,
        period=rng.uniform(0.2, 0.32),
        tilt=tilt,
        contrast=style.contrast,
    )
    # Supersampling smooths the edges: three by three samples a pixel for small pictures, else two by two.
    side = size * (3 if size <= 128 else 2)
    view = projection(pose, side)
    canvas = backdrop(side, style.backdrop or rng.choice(BACKDROPS))
    if style.shadow:
        cast_shadow(canvas, view.to_pixels([p for part in parts for p in part.outline]), style.shadow)
    for part in parts:
        if part.tone != "gloss" or style.shading:
            paint_part(canvas, part, surface, style, view)
    return canvas.resize((size, size), Image.Resampling.BOX)
