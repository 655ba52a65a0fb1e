"""The geometry of outlines.

An outline is a list of points in a square from -1 to 1: x to the right, y down, the ground at y = 1. One unit
of this square is called an object unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
Outline = list[Point]


def ellipse(cx: float, cy: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Outline:
    """Return points along an ellipse, clockwise from `start` to `end` degrees; 0 is right."""
    steps = max(8, int(abs(end - start) / 7))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles(start, end, steps + 1)]


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Outline:
    """Return a rectangle with rounded corners."""
    r = max(0.0, min(radius, (x1 - x0) / 2, (y1 - y0) / 2))
    if r == 0:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    corners = ((x1 - r, y0 + r, -90), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180))
    return [p for cx, cy, start in corners for p in ellipse(cx, cy, r, r, start, start + 90)]


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 7) -> Outline:
    """Return a Catmull-Rom curve through the points."""
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
    """Return the outline of a thick line, `width` at its start and `end_width` at its end."""
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


def lathe(profile: Sequence[Point], *, top: float = 0.0, bottom: float = 0.0) -> Outline:
    """Return the outline of a body turned on a lathe: its right profile, mirrored, with curved ends."""
    right = smooth(profile, closed=False)
    (top_x, top_y), (bottom_x, bottom_y) = right[0], right[-1]
    foot = ellipse(0, bottom_y, bottom_x, bottom, 0, 180) if bottom else []
    lid = ellipse(0, top_y, top_x, top, 180, 360) if top else []
    return right + foot + [(-x, y) for x, y in reversed(right)] + lid


def mirrored(outline: Outline) -> Outline:
    """Return the outline with left and right swapped."""
    return [(-x, y) for x, y in outline]


def angles(start: float, end: float, steps: int) -> list[float]:
    """Return `steps` evenly spaced angles in radians, from `start` to `end` degrees."""
    return [math.radians(start + (end - start) * i / (steps - 1)) for i in range(steps)]


def ordered(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    """Return a box's corners with the smaller coordinate first."""
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
