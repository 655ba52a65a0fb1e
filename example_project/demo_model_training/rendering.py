"""Draw the demo catalogue's product pictures, with Pillow and numpy only.

A kind of object is a short list of outlines in a square from -1 to 1 (x to the right, y down, the ground at
y = 1). ``render`` bends, colours, patterns and lights them. Everything follows from the arguments: the same
call draws the same picture.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]
RGB = tuple[int, int, int]
Outline = list[Point]
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

# Materials that keep their colour whatever the product's own colour is.
MATERIALS: dict[str, RGB] = {
    "wood": (196, 150, 100),
    "metal": (182, 186, 192),
    "dark": (46, 46, 52),
    "paper": (250, 248, 242),
    "glow": (255, 240, 196),
    "brass": (206, 170, 92),
}
# The product's colour, darker or lighter: what is turned away from the light, and what is hollow.
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
    """Where the object stands. Offsets are shares of the picture's side, rotation is in degrees."""

    rotation: float = 0.0
    scale: float = 1.0
    offset: Point = (0.0, 0.0)
    flip: bool = False
    squeeze: float = 1.0
    shear: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How the picture is made. The defaults are the shop's studio; training strays far from them.

    ``shading`` 0 is a flat icon, 1 the studio. ``outline`` is the edge line's width in object units,
    ``freedom`` how far proportions stray from the kind's own, ``wobble`` how far outlines bend (object
    units), ``contrast`` how far darker and lighter tones lie apart, ``backdrop`` the two colours (top,
    bottom) of the background.
    ``paint`` and ``second`` replace the named colour and the pattern's other colour.
    """

    shading: float = 1.0
    outline: float = 0.012
    edge: float = 0.72
    shadow: float = 1.0
    freedom: float = 0.5
    wobble: float = 0.0
    contrast: float = 1.0
    backdrop: tuple[RGB, RGB] | None = None
    paint: RGB | None = None
    second: RGB | None = None
    light_from_left: bool = True


STUDIO = Style()
UPRIGHT = Pose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One outline to fill. ``light`` names the shading: round (a cylinder), ball, flat or none."""

    outline: Outline
    tone: str
    light: str
    patterned: bool
    holes: tuple[Outline, ...] = ()
    opacity: float = 1.0


class Sketch:
    """Collects the parts of one object, back to front, with proportions that vary by seed."""

    def __init__(self, rng: random.Random, freedom: float) -> None:
        self.rng = rng
        self.freedom = freedom
        self.parts: list[Part] = []

    def vary(self, middle: float, spread: float) -> float:
        """Return ``middle`` give or take ``spread`` times the style's freedom."""
        return middle + spread * self.freedom * self.rng.uniform(-1, 1)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def add(self, outline: Outline, tone: str = "body", light: str = "round", **options: object) -> None:
        """Add a part; only parts in the product's own full tone carry the pattern unless told otherwise."""
        patterned = bool(options.get("patterned", tone == "body"))
        holes = tuple(options.get("holes", ()))  # type: ignore[arg-type]
        part = Part(outline=outline, tone=tone, light=light, patterned=patterned, holes=holes)
        self.parts.append(part)

    def gloss(self, outline: Outline, opacity: float = 0.38) -> None:
        """Add a reflection: white, translucent, only drawn where the style shades at all."""
        self.parts.append(Part(outline=outline, tone="gloss", light="none", patterned=False, opacity=opacity))


# --- outlines -----------------------------------------------------------------------------------------


def ellipse(cx: float, cy: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Outline:
    """Points along an ellipse, clockwise on the screen from ``start`` to ``end`` degrees (0 is right)."""
    steps = max(8, int(abs(end - start) / 7))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Outline:
    """Return a rectangle with rounded corners."""
    r = max(0.0, min(radius, (x1 - x0) / 2, (y1 - y0) / 2))
    if r == 0:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    corners = ((x1 - r, y0 + r, -90), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180))
    return [p for cx, cy, start in corners for p in ellipse(cx, cy, r, r, start, start + 90)]


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 7) -> Outline:
    """Return a Catmull-Rom curve through ``points``."""
    pts = list(points)
    ring = [pts[-1], *pts, pts[0], pts[1]] if closed else [pts[0], *pts, pts[-1]]
    curve: Outline = []
    for p0, p1, p2, p3 in zip(ring, ring[1:], ring[2:], ring[3:], strict=False):
        for i in range(steps):
            t = i / steps
            weights = (
                -0.5 * t + t * t - 0.5 * t**3,
                1 - 2.5 * t * t + 1.5 * t**3,
                0.5 * t + 2 * t * t - 1.5 * t**3,
                -0.5 * t * t + 0.5 * t**3,
            )
            corners = (p0, p1, p2, p3)
            x = sum(w * p[0] for w, p in zip(weights, corners, strict=True))
            y = sum(w * p[1] for w, p in zip(weights, corners, strict=True))
            curve.append((x, y))
    return curve if closed else [*curve, pts[-1]]


def stroke(line: Sequence[Point], width: float, end_width: float | None = None) -> Outline:
    """Return the outline of a thick line, ``width`` at its start and ``end_width`` at its end."""
    last = width if end_width is None else end_width
    left: Outline = []
    right: Outline = []
    for i, (x, y) in enumerate(line):
        ax, ay = line[max(0, i - 1)]
        bx, by = line[min(len(line) - 1, i + 1)]
        length = math.hypot(bx - ax, by - ay) or 1.0
        half = (width + (last - width) * i / max(1, len(line) - 1)) / 2
        nx, ny = -(by - ay) / length * half, (bx - ax) / length * half
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return left + right[::-1]


def turned(profile: Sequence[Point], *, top: float = 0.0, bottom: float = 0.0) -> Outline:
    """Return a body turned on a lathe: its right-hand profile, mirrored, with curved ends."""
    right = smooth(profile, closed=False)
    (top_x, top_y), (bottom_x, bottom_y) = right[0], right[-1]
    foot = ellipse(0, bottom_y, bottom_x, bottom, 0, 180) if bottom else []
    lid = ellipse(0, top_y, top_x, top, 180, 360) if top else []
    return right + foot + [(-x, y) for x, y in reversed(right)] + lid


def mirrored(outline: Outline) -> Outline:
    return [(-x, y) for x, y in outline]


# --- the kinds ----------------------------------------------------------------------------------------


def draw_mug(s: Sketch) -> None:
    w, top, taper = s.vary(0.56, 0.12), s.vary(-0.58, 0.16), s.vary(0.05, 0.09)
    reach = s.vary(0.36, 0.1)
    handle = ellipse(w - 0.06, (top + 0.8) / 2, reach, s.vary(0.4, 0.1), -95, 95)
    s.add(stroke(handle, s.vary(0.15, 0.05)), patterned=False)
    belly = s.vary(0.0, 0.06)
    s.add(turned([(w, top), (w - taper / 2 + belly, 0.1), (w - taper, 0.84)], bottom=0.13))
    s.add(ellipse(0, top, w, 0.14), "tint", "flat")
    s.add(ellipse(0, top + 0.012, w - 0.06, 0.105), "deep", "flat")
    if s.chance(0.35):
        s.add(ellipse(0, top + 0.045, w - 0.1, 0.07), "dark", "flat")
    s.gloss(stroke(smooth([(-w + 0.15, top + 0.28), (-w + 0.17, 0.55)], closed=False), 0.07, 0.04))


def draw_teapot(s: Sketch) -> None:
    w, h, cy = s.vary(0.62, 0.08), s.vary(0.55, 0.09), 0.36
    spout = smooth([(w - 0.14, cy + 0.22), (w + 0.12, cy + 0.02), (w + 0.26, cy - 0.4)], closed=False)
    s.add(stroke(spout, 0.34, s.vary(0.13, 0.03)), patterned=False)
    if s.chance(0.25):
        arch = ellipse(0, cy - 0.4, w * 0.8, s.vary(0.72, 0.1), 180, 360)
        s.add(stroke(arch, 0.08), "wood")
    else:
        loop = ellipse(-w + 0.06, cy - 0.04, s.vary(0.36, 0.06), s.vary(0.36, 0.06), 75, 285)
        s.add(stroke(loop, s.vary(0.13, 0.03)), patterned=False)
    s.add(box(-w * 0.5, cy + h - 0.1, w * 0.5, cy + h + 0.09, 0.06), "shade")
    s.add(ellipse(0, cy, w, h), light="ball")
    lid = cy - h
    s.add(ellipse(0, lid + 0.13, w * 0.56, 0.15), "shade", patterned=False)
    s.add(turned([(0.05, lid - 0.12), (w * 0.3, lid - 0.06), (w * 0.52, lid + 0.12)], bottom=0.09), "tint")
    s.add(ellipse(0, lid - 0.18, 0.1, s.vary(0.1, 0.02)), "body", "ball", patterned=False)
    s.gloss(smooth([(-w * 0.62, cy - 0.2), (-w * 0.4, cy - 0.36), (-w * 0.46, cy - 0.12)]))


def draw_bottle(s: Sketch) -> None:
    w, neck, shoulder = s.vary(0.34, 0.07), s.vary(0.13, 0.03), s.vary(-0.3, 0.12)
    top = s.vary(-0.88, 0.06)
    profile = [
        (neck, top),
        (neck, shoulder - 0.24),
        (w * 0.94, shoulder + 0.08),
        (w, shoulder + 0.3),
        (w, 0.92),
    ]
    s.add(turned(profile, bottom=0.06))
    cap = s.rng.choice(("metal", "dark", "wood"))
    s.add(box(-neck - 0.04, top - 0.14, neck + 0.04, top + 0.08, 0.04), cap)
    if s.chance(0.5):
        s.add(box(-w, s.vary(0.2, 0.1), w, s.vary(0.56, 0.1)), "paper", patterned=False)
    s.gloss(stroke([(-w * 0.6, shoulder + 0.25), (-w * 0.6, 0.75)], 0.075, 0.05))


def draw_vase(s: Sketch) -> None:
    lip, neck, belly = s.vary(0.3, 0.09), s.vary(0.17, 0.06), s.vary(0.52, 0.1)
    middle, foot, top = s.vary(0.25, 0.18), s.vary(0.28, 0.07), -0.62
    if s.chance(0.55):
        draw_flowers(s, top)
    s.add(ellipse(0, top, lip, 0.08), "deep", "flat")
    rise = middle - top
    profile = [(lip, top), (neck, top + 0.3 * rise), (belly * 0.84, top + 0.68 * rise), (belly, middle)]
    profile += [(belly * 0.88, middle + 0.26), (foot, 0.93)]
    s.add(turned(profile, bottom=0.06, top=-0.08))
    s.gloss(
        smooth([(-belly * 0.62, middle - 0.2), (-belly * 0.45, middle - 0.28), (-belly * 0.56, middle + 0.2)])
    )


def draw_flowers(s: Sketch, top: float) -> None:
    for x in (-0.34, 0.0, 0.32):
        tip = (x + s.vary(0, 0.1), s.vary(-1.02, 0.08) + abs(x) * 0.3)
        s.add(stroke(smooth([(x * 0.2, top + 0.1), (x * 0.6, top - 0.12), tip], closed=False), 0.03), "leaf")
        s.add(ellipse(tip[0], tip[1], 0.1, 0.1), "paper", "ball")
        s.add(ellipse(tip[0], tip[1], 0.04, 0.04), "brass", "flat")


def draw_t_shirt(s: Sketch) -> None:
    w, hem = s.vary(0.5, 0.06), s.vary(0.88, 0.06)
    sleeve, cuff = s.vary(0.94, 0.06), s.vary(-0.08, 0.12)
    half = [(0.2, -0.82), (0.5, -0.7), (sleeve, cuff - 0.16), (sleeve - 0.26, cuff + 0.06), (w, -0.26)]
    half += [(w - 0.01, 0.3), (w + s.vary(0.01, 0.04), hem)]
    s.add(ellipse(0, -0.8, 0.2, 0.08), "deep", "flat")
    depth = s.vary(0.15, 0.05)
    collar = [(0.0, -0.82 + depth * 1.5)] if s.chance(0.3) else ellipse(0, -0.82, 0.2, depth, 0, 180)
    s.add([*half, *mirrored(half)[::-1], *collar[::-1]], light="cloth")
    s.add(stroke([(-0.2, -0.82), *collar[::-1], (0.2, -0.82)], 0.05), "shade", "flat")
    for side in (1, -1):
        s.add(stroke([(side * w, -0.28), (side * (w - 0.03), 0.02)], 0.022, 0.005), "shade", "flat")


def draw_dress(s: Sketch) -> None:
    waist, hem, flare = s.vary(0.25, 0.03), s.vary(0.9, 0.06), s.vary(0.62, 0.12)
    line = s.vary(-0.16, 0.06)
    half = [(0.17, -0.95), (0.27, -0.95), (0.36, -0.55), (waist, line)]
    skirt = smooth([(waist, line), (waist + 0.16, line + 0.3), (flare, hem)], closed=False)
    right = half + skirt
    wave = [(flare * math.cos(a), hem + 0.05 * math.sin(a) + 0.02 * math.cos(5 * a)) for a in arc(0, 180, 20)]
    neck = ellipse(0, -0.93, 0.17, s.vary(0.26, 0.08), 0, 180)
    if s.chance(0.4):
        s.add([(0.2, -0.94), (0.3, -0.92), (0.56, -0.52), (0.36, -0.4)], "body", "cloth")
        s.add(mirrored([(0.2, -0.94), (0.3, -0.92), (0.56, -0.52), (0.36, -0.4)]), "body", "cloth")
    s.add([*right, *wave, *mirrored(right)[::-1], *neck[::-1]], light="cloth")
    s.add(box(-waist - 0.01, line - 0.05, waist + 0.01, line + 0.06, 0.02), "deep", "round")
    for x in (-0.3, 0.0, 0.3):
        s.add(
            stroke([(x * waist * 2, line + 0.1), (x * flare * 2, hem - 0.06)], 0.012, 0.03), "shade", "flat"
        )


def arc(start: float, end: float, steps: int) -> list[float]:
    """Return ``steps`` angles in radians between two angles in degrees."""
    return [math.radians(start + (end - start) * i / (steps - 1)) for i in range(steps)]


def draw_hat(s: Sketch) -> None:
    if s.chance(0.3):
        draw_cap(s)
        return
    w, brim, base = s.vary(0.5, 0.07), s.vary(0.96, 0.07), 0.45
    top = s.vary(-0.42, 0.14)
    s.add(ellipse(0, base, brim, s.vary(0.26, 0.06)), "shade", "flat", patterned=True)
    s.add(ellipse(0, base - 0.05, brim, s.vary(0.23, 0.05)), light="round")
    crown = [(w * 0.12, top + 0.05), (w * 0.66, top), (w * 0.93, top + 0.2), (w, base - 0.02)]
    s.add(turned(crown, bottom=0.13))
    band = s.vary(0.16, 0.04)
    ribbon = turned([(w * 0.985, base - band - 0.05), (w, base - 0.03)], bottom=0.13, top=-0.12)
    s.add(ribbon, s.rng.choice(("deep", "dark", "paper")))


def draw_cap(s: Sketch) -> None:
    w, top = s.vary(0.62, 0.06), s.vary(-0.5, 0.1)
    visor = smooth(
        [
            (0.0, 0.36),
            (w * 0.6, 0.33),
            (w, 0.24),
            (w + s.vary(0.36, 0.08), 0.42),
            (w * 0.9, 0.47),
            (0.1, 0.44),
        ]
    )
    crown = [*ellipse(0, 0.3, w, 0.3 - top, 180, 360), *ellipse(0, 0.3, w, 0.12, 0, 180)]
    s.add(crown, light="ball")
    s.add(visor, "shade", "flat")
    s.add(ellipse(0, top, 0.07, 0.045), "deep", "ball")
    s.add(stroke(ellipse(0, 0.3, w * 0.35, 0.29 - top, 185, 355), 0.018), "shade", "flat")


def draw_shoe(s: Sketch) -> None:
    heel, toe, ankle = -0.86, s.vary(0.94, 0.04), s.vary(-0.42, 0.16)
    back = [(heel, 0.6), (heel + 0.02, 0.3), (heel - 0.03, ankle + 0.08), (heel + 0.06, ankle)]
    opening = [(-0.55, ankle + 0.09), (-0.2, ankle - 0.02), (-0.1, ankle)]
    front = [(0.14, ankle * 0.3), (0.42, 0.06), (0.7, s.vary(0.12, 0.04)), (toe - 0.05, 0.26), (toe, 0.5)]
    s.add(
        smooth([(-0.62, ankle + 0.2), (-0.34, ankle - 0.1), (-0.14, ankle - 0.16), (0.0, 0.0)]),
        "shade",
        "flat",
    )
    s.add(smooth([*back, *opening, *front, (toe - 0.05, 0.62)]), light="cloth")
    rim = [(heel + 0.05, ankle), (-0.55, ankle + 0.09), (-0.2, ankle - 0.02), (-0.11, ankle + 0.01)]
    s.add(stroke(smooth(rim, closed=False), 0.06), "deep", "flat")
    sole = s.rng.choice(("paper", "paper", "dark", "brass"))
    s.add(box(heel - 0.06, 0.52, toe + 0.05, s.vary(0.74, 0.04), 0.1), sole, "flat")
    if s.chance(0.7):
        for i in range(4):
            x, y = -0.12 + i * 0.15, ankle + 0.13 + i * (0.1 - ankle) / 4.4
            s.add(stroke([(x - 0.05, y + 0.08), (x + 0.1, y - 0.05)], 0.05), "paper", "flat")
    if s.chance(0.6):
        s.add(smooth([(0.5, 0.58), (0.58, 0.3), (0.82, 0.27), (toe - 0.02, 0.58)]), "tint", "flat")


def draw_backpack(s: Sketch) -> None:
    w, top = s.vary(0.54, 0.06), s.vary(-0.76, 0.06)
    s.add(stroke(ellipse(0, top + 0.04, 0.19, 0.18, 180, 360), 0.075), "dark")
    if s.chance(0.6):
        for side in (1, -1):
            s.add(box(*flat_box(side * (w - 0.1), 0.22, side * (w + 0.17), 0.78), 0.1), "shade")
    s.add(box(-w, top, w, 0.94, s.vary(0.3, 0.1)))
    s.add(stroke(ellipse(0, top + 0.42, w - 0.03, 0.22, 190, 350), 0.025), "deep", "flat")
    pocket = s.vary(0.24, 0.06)
    s.add(box(-w * 0.76, pocket, w * 0.76, 0.84, 0.13), "tint", "round", patterned=False)
    s.add(stroke([(-w * 0.62, pocket + 0.13), (w * 0.62, pocket + 0.13)], 0.035), "deep", "flat")
    s.add(box(-0.03, pocket + 0.13, 0.03, pocket + 0.27, 0.03), "metal", "flat")
    if s.chance(0.5):
        for side in (1, -1):
            s.add(
                stroke([(side * w * 0.55, top + 0.2), (side * w * 0.55, pocket + 0.05)], 0.075),
                "deep",
                "flat",
            )


def flat_box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    """Return a box's corners with the smaller coordinate first."""
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def draw_handbag(s: Sketch) -> None:
    top, bottom = s.vary(-0.14, 0.08), s.vary(0.86, 0.05)
    w, flare = s.vary(0.68, 0.07), s.vary(0.12, 0.08)
    arch = ellipse(0, top + 0.05, s.vary(0.4, 0.08), s.vary(0.66, 0.1), 180, 360)
    s.add(stroke(arch, s.vary(0.085, 0.02)), "deep", "flat")
    body = [(-w, top), (w, top), (w + flare, bottom - 0.12), (w + flare - 0.1, bottom)]
    s.add([*body, (-w - flare + 0.1, bottom), (-w - flare, bottom - 0.12)], light="flat")
    if s.chance(0.6):
        flap = smooth([(w * 0.98, top + 0.16), (w * 0.5, top + 0.42), (0, top + 0.48)], closed=False)
        s.add([(-w, top), (w, top), *flap, *mirrored(flap)[::-1]], "tint", "flat")
        s.add(box(-0.08, top + 0.4, 0.08, top + 0.58, 0.03), "brass", "flat")
    else:
        s.add(box(-w, top, w, top + 0.1, 0.02), "shade", "flat")
    for side in (1, -1):
        s.add(ellipse(side * 0.4, top + 0.08, 0.05, 0.05), "brass", "ball")


def draw_umbrella(s: Sketch) -> None:
    w, top, rim = s.vary(0.96, 0.05), s.vary(-0.82, 0.07), s.vary(0.06, 0.05)
    hook = ellipse(0.13, 0.8, 0.13, s.vary(0.17, 0.03), 180, -5)
    s.add(stroke([(0, top - 0.1), (0, 0.78)], 0.045), "metal")
    s.add(stroke([(0, 0.56), *hook], 0.08), s.rng.choice(("wood", "dark")))
    dome = ellipse(0, rim, w, rim - top, 180, 360)
    scallops = [p for i in range(4) for p in ellipse(w * (0.75 - i * 0.5), rim, w / 4, 0.09, 0, -180)]
    s.add([*dome, *scallops], light="ball")
    for x in (-0.5, 0.0, 0.5):
        rib = smooth([(0, top), (x * w * 0.72, top + 0.34), (x * w, rim - 0.01)], closed=False)
        s.add(stroke(rib, 0.016), "deep", "flat")
    s.add(ellipse(0, top, 0.05, 0.04), "metal", "flat")


def draw_lamp(s: Sketch) -> None:
    narrow, wide, rim = s.vary(0.32, 0.08), s.vary(0.66, 0.08), s.vary(-0.06, 0.08)
    top, base = s.vary(-0.88, 0.04), s.rng.choice(("wood", "metal", "brass", "dark"))
    if s.chance(0.3):
        for x in (-0.42, 0.0, 0.42):
            s.add(stroke([(x * 0.1, rim - 0.1), (x, 0.94)], 0.06, 0.045), base)
    elif s.chance(0.35):
        s.add(
            turned([(0.07, rim - 0.05), (0.2, 0.4), (0.34, 0.7), (0.2, 0.93)], bottom=0.04), "shade", "round"
        )
    else:
        s.add(box(-0.04, rim - 0.1, 0.04, 0.9), base)
        s.add(turned([(0.1, 0.84), (s.vary(0.36, 0.06), 0.93)], bottom=0.05), base)
    s.add(ellipse(0, rim, wide, 0.09), "glow", "flat")
    shade = [(narrow, top), ((narrow + wide) / 2 + s.vary(0, 0.05), (top + rim) / 2), (wide, rim)]
    s.add(turned(shade, bottom=s.vary(0.05, 0.03), top=0.05))
    s.gloss(smooth([(-wide * 0.3, rim - 0.02), (0, top + 0.2), (wide * 0.3, rim - 0.02)]), 0.14)


def draw_chair(s: Sketch) -> None:
    w, seat, top = s.vary(0.44, 0.05), s.vary(0.2, 0.06), s.vary(-0.92, 0.05)
    legs = s.rng.choice(("wood", "dark", "body"))
    splay = s.vary(0.1, 0.06)
    for x in (-1, 1):
        s.add(
            stroke([(x * w * 0.72, seat), (x * (w * 0.72 + splay / 2), 0.82)], 0.06, 0.05),
            legs,
            patterned=False,
        )
    if s.chance(0.5):
        s.add(box(-w, top, w, seat - 0.12, s.vary(0.18, 0.1)))
        s.add(box(-w * 0.6, seat - 0.14, w * 0.6, seat), "shade")
    else:
        for x in (-1, 1):
            s.add(box(*flat_box(x * w, top, x * (w - 0.1), seat), 0.04), patterned=False)
        for i in range(3):
            y = top + 0.06 + i * s.vary(0.3, 0.03)
            s.add(box(-w + 0.04, y, w - 0.04, y + 0.17, 0.04))
    for x in (-1, 1):
        s.add(stroke([(x * w * 0.98, seat), (x * (w + splay), 0.97)], 0.085, 0.065), legs, patterned=False)
    front = seat + 0.16
    s.add(
        [(-w, seat - 0.02), (w, seat - 0.02), (w + 0.12, front), (-w - 0.12, front)],
        "tint",
        "flat",
        patterned=True,
    )
    s.add(box(-w - 0.12, front - 0.01, w + 0.12, front + 0.1, 0.05), "shade", "flat")


def draw_sofa(s: Sketch) -> None:
    w, top, arm = s.vary(0.96, 0.04), s.vary(-0.42, 0.1), s.vary(0.26, 0.05)
    for x in (-1, 1):
        s.add(stroke([(x * (w - 0.16), 0.62), (x * (w - 0.12), 0.82)], 0.08, 0.05), "wood")
    s.add(box(-w + 0.1, top, w - 0.1, 0.5, s.vary(0.16, 0.06)), light="flat")
    s.add(box(-w + 0.06, 0.3, w - 0.06, 0.7, 0.06), "shade", "flat")
    seats, inner = (2 if s.chance(0.6) else 3), w - arm
    for i in range(seats):
        x0 = -inner + i * 2 * inner / seats
        x1 = x0 + 2 * inner / seats
        s.add(box(x0 + 0.01, top + 0.12, x1 - 0.01, 0.24, 0.1), "tint", "flat", patterned=True)
        s.add(box(x0 + 0.005, 0.16, x1 - 0.005, 0.42, 0.08), "body", "flat")
    high = s.vary(-0.04, 0.08)
    for x in (-1, 1):
        s.add(box(*flat_box(x * inner, high, x * w, 0.7), 0.13), light="round")


def draw_clock(s: Sketch) -> None:
    r, cy, rim = s.vary(0.84, 0.06), 0.06, s.vary(0.17, 0.05)
    if s.chance(0.3):
        for x in (-1, 1):
            s.add(ellipse(x * 0.46, cy - r - 0.0, 0.24, 0.2), "metal", "ball")
            s.add(stroke([(x * 0.5, cy + r * 0.7), (x * 0.66, 0.98)], 0.12, 0.08), patterned=False)
        r *= 0.92
    square = s.chance(0.2)
    s.add(box(-r, cy - r, r, cy + r, 0.16) if square else ellipse(0, cy, r, r), light="ball")
    face = "paper" if s.chance(0.75) else "tint"
    s.add(ellipse(0, cy, r - rim, r - rim), face, "flat")
    for i, a in enumerate(arc(0, 330, 12)):
        inner = r - rim - (0.17 if i % 3 == 0 else 0.11)
        ends = [(k * math.cos(a), cy + k * math.sin(a)) for k in (inner, r - rim - 0.05)]
        s.add(stroke(ends, 0.05 if i % 3 == 0 else 0.03), "dark", "none")
    for length, width in ((0.36, 0.07), (0.52, 0.045)):
        a = s.rng.uniform(0, 2 * math.pi)
        s.add(
            stroke([(0, cy), (length * math.cos(a) * r, cy + length * math.sin(a) * r)], width),
            "dark",
            "none",
        )
    s.add(ellipse(0, cy, 0.055, 0.055), "deep", "none")


def draw_cushion(s: Sketch) -> None:
    w, h, pinch = s.vary(0.84, 0.06), s.vary(0.74, 0.1), s.vary(0.1, 0.04)
    cy = 0.96 - h
    corners = [
        (-w, cy - h),
        (0, cy - h + pinch),
        (w, cy - h),
        (w - pinch, cy),
        (w, cy + h),
        (0, cy + h - pinch),
    ]
    curve = smooth([*corners, (-w, cy + h), (-w + pinch, cy)], steps=12)
    s.add(curve, light="ball")
    if s.chance(0.6):
        inner = [(x * 0.94, cy + (y - cy) * 0.94) for x, y in curve]
        s.add(inner, "deep", "none", holes=([(x * 0.985, cy + (y - cy) * 0.985) for x, y in inner],))
    if s.chance(0.4):
        s.add(ellipse(0, cy, 0.07, 0.06), "deep", "ball")
    s.gloss(smooth([(-0.5, cy - 0.42), (0.1, cy - 0.44), (-0.2, cy - 0.2)]), 0.14)


def draw_guitar(s: Sketch) -> None:
    lower, upper, waist = s.vary(0.5, 0.05), s.vary(0.38, 0.04), s.vary(0.29, 0.03)
    s.add(box(-0.065, -0.78, 0.065, 0.1), "wood")
    s.add([(-0.09, -0.78), (-0.13, -1.04), (0.13, -1.04), (0.09, -0.78)], "dark")
    for side in (1, -1):
        for y in (-0.99, -0.91, -0.83):
            s.add(ellipse(side * 0.17, y, 0.035, 0.028), "metal", "flat")
    half = [(0.2, -0.13), (upper * 0.95, -0.02), (upper, 0.12), (waist, 0.34), (lower * 0.94, 0.53)]
    half += [(lower, 0.72), (lower * 0.66, 0.94)]
    s.add(smooth([(0, -0.12), *half, (0, 1.0), *mirrored(half)[::-1]]), light="ball")
    s.add(box(-0.055, -0.7, 0.055, 0.16), "dark", "none")
    if s.chance(0.7):
        s.add(ellipse(0, 0.33, 0.165, 0.165), "paper", "none")
        s.add(ellipse(0, 0.33, 0.135, 0.135), "dark", "none")
    else:
        for y in (0.25, 0.45):
            s.add(box(-0.14, y, 0.14, y + 0.08, 0.03), "dark", "flat")
    s.add(box(-0.19, 0.68, 0.19, 0.75, 0.03), "dark", "flat")
    for x in (-0.03, 0.0, 0.03):
        s.add(stroke([(x, -0.9), (x, 0.7)], 0.009), "metal", "none")


def draw_headphones(s: Sketch) -> None:
    r, drop = s.vary(0.68, 0.06), s.vary(0.1, 0.06)
    band = ellipse(0, drop, r, s.vary(0.86, 0.06), 180, 360)
    s.add(stroke(band, s.vary(0.14, 0.03)), "body" if s.chance(0.75) else "dark", "round")
    s.add(stroke(ellipse(0, drop + 0.02, r - 0.09, 0.74, 205, 335), 0.07), "dark", "flat")
    cup, tall = s.vary(0.21, 0.03), s.vary(0.38, 0.05)
    for side in (1, -1):
        s.add(
            box(*flat_box(side * (r - 0.16), drop, side * (r + 0.02), drop + tall * 2), 0.09), "dark", "round"
        )
        s.add(
            box(
                *flat_box(side * r - side * 0.03, drop - 0.06, side * (r + cup), drop + tall * 2 + 0.06), 0.16
            )
        )
        s.add(ellipse(side * (r + cup * 0.45), drop + tall, cup * 0.3, tall * 0.5), "tint", "flat")


DRAWERS: dict[str, Callable[[Sketch], None]] = {
    "mug": draw_mug,
    "teapot": draw_teapot,
    "bottle": draw_bottle,
    "vase": draw_vase,
    "t-shirt": draw_t_shirt,
    "dress": draw_dress,
    "hat": draw_hat,
    "shoe": draw_shoe,
    "backpack": draw_backpack,
    "handbag": draw_handbag,
    "umbrella": draw_umbrella,
    "lamp": draw_lamp,
    "chair": draw_chair,
    "sofa": draw_sofa,
    "clock": draw_clock,
    "cushion": draw_cushion,
    "guitar": draw_guitar,
    "headphones": draw_headphones,
}
KINDS: tuple[str, ...] = tuple(DRAWERS)


def bent(parts: Sequence[Part], wobble: float, rng: random.Random) -> list[Part]:
    """Return the parts with their outlines bent by one smooth random field, up to ``wobble`` object units."""
    fx, fy = rng.uniform(1.5, 4), rng.uniform(1.5, 4)
    px, py = rng.uniform(0, 6.3), rng.uniform(0, 6.3)

    def bend(outline: Outline) -> Outline:
        return [(x + wobble * math.sin(fy * y + py), y + wobble * math.sin(fx * x + px)) for x, y in outline]

    return [
        replace(part, outline=bend(part.outline), holes=tuple(bend(hole) for hole in part.holes))
        for part in parts
    ]


# --- light and pattern --------------------------------------------------------------------------------


def shading(light: str, width: int, height: int, *, from_left: bool) -> Pixels:
    """Return the brightness factor of every pixel of a part: float32 (height, width), around 1."""
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
    """Return how much of the second colour shows at object coordinates (x, y): 0 to 1, same shape."""
    a = (x * math.cos(tilt) + y * math.sin(tilt)) / period
    b = (y * math.cos(tilt) - x * math.sin(tilt)) / period
    if pattern == "striped":
        return (np.abs(b % 1 - 0.5) < 0.2).astype(np.float32)
    if pattern == "checked":
        return 0.5 * ((a % 1 < 0.5).astype(np.float32) + (b % 1 < 0.5).astype(np.float32))
    row = np.floor(b)
    dx, dy = (a + 0.5 * (row % 2)) % 1 - 0.5, b % 1 - 0.5
    return (dx * dx + dy * dy < 0.075).astype(np.float32)


def second_colour(base: RGB) -> RGB:
    """Return the pattern's other colour: cream, or slate on products too pale for cream to show."""
    return (112, 122, 140) if min(base) > 215 else (250, 247, 240)


# --- the picture --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The map from object units to pixels: p = matrix · (x, y) + origin, for one canvas side in pixels."""

    side: int
    matrix: tuple[float, float, float, float]
    origin: Point

    def place(self, outline: Outline) -> Outline:
        a, b, c, d = self.matrix
        ox, oy = self.origin
        return [(a * x + b * y + ox, c * x + d * y + oy) for x, y in outline]

    def back(self, px: Pixels, py: Pixels) -> tuple[Pixels, Pixels]:
        """Return the object coordinates of pixel coordinates."""
        a, b, c, d = self.matrix
        det = a * d - b * c
        dx, dy = px - self.origin[0], py - self.origin[1]
        return (d * dx - b * dy) / det, (a * dy - c * dx) / det

    @property
    def unit(self) -> float:
        """Pixels per object unit."""
        a, b, c, d = self.matrix
        return math.sqrt(abs(a * d - b * c))


def frame_for(pose: Pose, side: int) -> Frame:
    angle, unit = math.radians(pose.rotation), 0.4 * side * pose.scale
    width = unit * pose.squeeze * (-1 if pose.flip else 1)
    height = unit / max(0.3, pose.squeeze)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = (width * cos, (pose.shear * cos - sin) * height, width * sin, (pose.shear * sin + cos) * height)
    origin = ((0.5 + pose.offset[0]) * side, (0.5 + pose.offset[1]) * side)
    return Frame(side=side, matrix=matrix, origin=origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """The colours of one product: its own, the pattern's second one and the pattern's geometry."""

    base: RGB
    second: RGB
    pattern: str
    period: float
    tilt: float
    contrast: float = 1.0

    def tone(self, name: str) -> RGB:
        """Return the colour of a part's tone; a gloss is white."""
        if name in MATERIALS:
            return MATERIALS[name]
        if name == "leaf":
            return (96, 140, 84)
        if name == "gloss":
            return (255, 255, 255)
        return scaled(self.base, 1 + (TONES[name] - 1) * self.contrast)


def scaled(colour: RGB, factor: float) -> RGB:
    """Return a colour darker or lighter; lightening moves towards white so that it shows on any colour."""
    if factor > 1:
        return tuple(round(c + (255 - c) * (factor - 1)) for c in colour)  # type: ignore[return-value]
    # Near-black would only become blacker: lift it a little, or hollows vanish.
    lift = 16 if max(colour) < 60 else 0
    return tuple(round(c * factor) + lift for c in colour)  # type: ignore[return-value]


def backdrop(side: int, colours: tuple[RGB, RGB]) -> Image.Image:
    """Return the background: RGB, a vertical gradient, brighter towards the middle."""
    top, bottom = (np.asarray(c, np.float32) for c in colours)
    v = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    u = np.linspace(-1, 1, side, dtype=np.float32)[None, :, None]
    glow = 1 + 0.03 * (1 - u * u) * (1 - np.abs(2 * v - 0.9))
    pixels = np.clip((top * (1 - v) + bottom * v) * glow, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8), "RGB")


def cast_shadow(canvas: Image.Image, points: Outline, strength: float) -> None:
    """Darken the ground under the object: a blurred ellipse, made small and scaled up because it is soft."""
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
    part: Part, paint: Paint, style: Style, frame: Frame, bounds: tuple[int, int, int, int]
) -> Image.Image:
    """Return the part's colour, pattern and light over its bounding box, as an RGB picture."""
    x0, y0, x1, y1 = bounds
    width, height = x1 - x0, y1 - y0
    colour = np.asarray(paint.tone(part.tone), np.float32)
    pixels: Pixels = np.broadcast_to(colour, (height, width, 3))
    if part.patterned and paint.pattern != "plain":
        px = np.arange(x0, x1, dtype=np.float32)[None, :]
        py = np.arange(y0, y1, dtype=np.float32)[:, None]
        x, y = frame.back(px, py)
        weight = pattern_weight(paint.pattern, x, y, paint.period, paint.tilt)[..., None]
        pixels = pixels * (1 - weight) + np.asarray(paint.second, np.float32) * weight
    if style.shading and part.light != "none":
        factor = 1 + style.shading * (shading(part.light, width, height, from_left=style.light_from_left) - 1)
        pixels = pixels * factor[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")


def paint_part(canvas: Image.Image, part: Part, paint: Paint, style: Style, frame: Frame) -> None:
    """Fill one part on the canvas, with a darker line just inside its edge."""
    points = frame.place(part.outline)
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x0, y0 = max(0, math.floor(min(xs))), max(0, math.floor(min(ys)))
    x1, y1 = min(frame.side, math.ceil(max(xs)) + 1), min(frame.side, math.ceil(max(ys)) + 1)
    if x1 <= x0 or y1 <= y0:
        return
    local = [(x - x0, y - y0) for x, y in points]
    mask = Image.new("L", (x1 - x0, y1 - y0), 0)
    draw = ImageDraw.Draw(mask)
    draw.polygon(local, fill=round(255 * part.opacity))
    for hole in part.holes:
        draw.polygon([(x - x0, y - y0) for x, y in frame.place(hole)], fill=0)
    fill = fill_pixels(part, paint, style, frame, (x0, y0, x1, y1))
    if style.outline and part.light != "none":
        line = scaled(paint.tone(part.tone), style.edge)
        width = max(1, round(2 * style.outline * frame.unit))
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
    style: Style = STUDIO,
) -> Image.Image:
    """Draw a product: RGB, ``size`` × ``size`` pixels. The seed chooses proportions, details and backdrop.

    Raises ``KeyError`` for a kind or a colour that is not in ``KINDS`` or ``COLOURS``.
    """
    rng = random.Random(f"{kind}/{seed}")
    sketch = Sketch(rng, style.freedom)
    DRAWERS[kind](sketch)
    parts = bent(sketch.parts, style.wobble, rng) if style.wobble else sketch.parts
    base = style.paint or COLOURS[colour]
    tilt = rng.choice((0.0, 0.0, math.pi / 2, math.pi / 4)) if pattern == "striped" else 0.0
    paint = Paint(
        base=base,
        second=style.second or second_colour(base),
        pattern=pattern,
        period=rng.uniform(0.2, 0.32),
        tilt=tilt,
        contrast=style.contrast,
    )
    # Three samples a side where pixels are few and edges count, two where pixels are many.
    side = size * (3 if size <= 128 else 2)
    frame = frame_for(pose, side)
    canvas = backdrop(side, style.backdrop or rng.choice(BACKDROPS))
    if style.shadow:
        cast_shadow(canvas, frame.place([p for part in parts for p in part.outline]), style.shadow)
    for part in parts:
        if part.tone != "gloss" or style.shading:
            paint_part(canvas, part, paint, style, frame)
    return canvas.resize((size, size), Image.Resampling.BOX)
