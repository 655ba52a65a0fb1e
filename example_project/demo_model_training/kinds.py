"""The shapes of the 18 kinds of object.

A `draw_…` function adds the parts of one kind to a `Sketch`, back to front. Its proportions vary with the
sketch's random numbers, so that no two mugs are the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .outlines import Outline, angles, box, ellipse, lathe, mirrored, ordered, smooth, stroke


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One outline to fill.

    `tone` is a key of `rendering.TONES` (the product's own colour, lighter or darker) or of
    `rendering.MATERIALS`. `light` is the shading: "round" (a cylinder), "ball", "cloth", "flat" or "none".
    Only a `patterned` part shows stripes, dots or checks.
    """

    outline: Outline
    tone: str
    light: str
    patterned: bool
    holes: tuple[Outline, ...] = ()
    opacity: float = 1.0


class Sketch:
    """The parts of one object, back to front.

    `variation` scales how far proportions may differ from the usual ones of the kind.
    """

    def __init__(self, rng: random.Random, variation: float) -> None:
        self.rng = rng
        self.variation = variation
        self.parts: list[Part] = []

    def vary(self, middle: float, spread: float) -> float:
        """Return a random number around `middle`, at most `spread` × `variation` away from it."""
        return middle + spread * self.variation * self.rng.uniform(-1, 1)

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability

    def add(
        self,
        outline: Outline,
        tone: str = "body",
        light: str = "round",
        *,
        patterned: bool | None = None,
        holes: tuple[Outline, ...] = (),
    ) -> None:
        """Add a part. By default, a part of the tone "body" is patterned and every other one is not."""
        if patterned is None:
            patterned = tone == "body"
        self.parts.append(Part(outline=outline, tone=tone, light=light, patterned=patterned, holes=holes))

    def gloss(self, outline: Outline, opacity: float = 0.38) -> None:
        """Add a reflection: white and translucent. A style without shading leaves it out."""
        self.parts.append(Part(outline=outline, tone="gloss", light="none", patterned=False, opacity=opacity))


def draw_mug(s: Sketch) -> None:
    w, top, taper = s.vary(0.56, 0.12), s.vary(-0.58, 0.16), s.vary(0.05, 0.09)
    reach = s.vary(0.36, 0.1)
    handle = ellipse(w - 0.06, (top + 0.8) / 2, reach, s.vary(0.4, 0.1), -95, 95)
    s.add(stroke(handle, s.vary(0.15, 0.05)), patterned=False)
    belly = s.vary(0.0, 0.06)
    s.add(lathe([(w, top), (w - taper / 2 + belly, 0.1), (w - taper, 0.84)], bottom=0.13))
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
    s.add(lathe([(0.05, lid - 0.12), (w * 0.3, lid - 0.06), (w * 0.52, lid + 0.12)], bottom=0.09), "tint")
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
    s.add(lathe(profile, bottom=0.06))
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
    s.add(lathe(profile, bottom=0.06, top=-0.08))
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
    wave = [
        (flare * math.cos(a), hem + 0.05 * math.sin(a) + 0.02 * math.cos(5 * a)) for a in angles(0, 180, 20)
    ]
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


def draw_hat(s: Sketch) -> None:
    if s.chance(0.3):
        draw_cap(s)
        return
    w, brim, base = s.vary(0.5, 0.07), s.vary(0.96, 0.07), 0.45
    top = s.vary(-0.42, 0.14)
    s.add(ellipse(0, base, brim, s.vary(0.26, 0.06)), "shade", "flat", patterned=True)
    s.add(ellipse(0, base - 0.05, brim, s.vary(0.23, 0.05)), light="round")
    crown = [(w * 0.12, top + 0.05), (w * 0.66, top), (w * 0.93, top + 0.2), (w, base - 0.02)]
    s.add(lathe(crown, bottom=0.13))
    band = s.vary(0.16, 0.04)
    ribbon = lathe([(w * 0.985, base - band - 0.05), (w, base - 0.03)], bottom=0.13, top=-0.12)
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
            s.add(box(*ordered(side * (w - 0.1), 0.22, side * (w + 0.17), 0.78), 0.1), "shade")
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
            lathe([(0.07, rim - 0.05), (0.2, 0.4), (0.34, 0.7), (0.2, 0.93)], bottom=0.04), "shade", "round"
        )
    else:
        s.add(box(-0.04, rim - 0.1, 0.04, 0.9), base)
        s.add(lathe([(0.1, 0.84), (s.vary(0.36, 0.06), 0.93)], bottom=0.05), base)
    s.add(ellipse(0, rim, wide, 0.09), "glow", "flat")
    shade = [(narrow, top), ((narrow + wide) / 2 + s.vary(0, 0.05), (top + rim) / 2), (wide, rim)]
    s.add(lathe(shade, bottom=s.vary(0.05, 0.03), top=0.05))
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
            s.add(box(*ordered(x * w, top, x * (w - 0.1), seat), 0.04), patterned=False)
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
        s.add(box(*ordered(x * inner, high, x * w, 0.7), 0.13), light="round")


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
    for i, a in enumerate(angles(0, 330, 12)):
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
            box(*ordered(side * (r - 0.16), drop, side * (r + 0.02), drop + tall * 2), 0.09), "dark", "round"
        )
        s.add(
            box(*ordered(side * r - side * 0.03, drop - 0.06, side * (r + cup), drop + tall * 2 + 0.06), 0.16)
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


def draw_parts(kind: str, rng: random.Random, *, variation: float, wobble: float) -> list[Part]:
    """Return the parts of an object, back to front. Raise KeyError for an unknown kind."""
    sketch = Sketch(rng, variation)
    DRAWERS[kind](sketch)
    return bend(sketch.parts, wobble, rng) if wobble else sketch.parts


def bend(parts: Sequence[Part], wobble: float, rng: random.Random) -> list[Part]:
    """Return the parts with all outlines bent by one smooth random field, by up to `wobble` object units."""
    fx, fy = rng.uniform(1.5, 4), rng.uniform(1.5, 4)
    px, py = rng.uniform(0, 6.3), rng.uniform(0, 6.3)

    def bent(outline: Outline) -> Outline:
        return [(x + wobble * math.sin(fy * y + py), y + wobble * math.sin(fx * x + px)) for x, y in outline]

    return [
        replace(part, outline=bent(part.outline), holes=tuple(bent(hole) for hole in part.holes))
        for part in parts
    ]
