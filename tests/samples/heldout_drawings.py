"""Flat icons of the demo's kinds of object, drawn by other code than the shop's pictures.

The demo model never saw these while it learned: other shapes, another palette, other backgrounds, no light.
What it finds here it understands, rather than remembers. Nothing is imported from the shop on purpose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageChops, ImageDraw

RGB = tuple[int, int, int]
XY = tuple[float, float]

PALETTE: dict[str, RGB] = {
    "red": (231, 50, 50),
    "orange": (255, 140, 30),
    "yellow": (252, 214, 60),
    "green": (60, 168, 92),
    "turquoise": (38, 198, 190),
    "blue": (46, 110, 218),
    "purple": (138, 70, 184),
    "pink": (248, 150, 192),
    "brown": (112, 70, 42),
    "black": (30, 30, 34),
    "grey": (146, 148, 152),
    "white": (250, 250, 250),
}
GROUNDS: tuple[RGB, ...] = (
    (225, 230, 236),
    (236, 228, 214),
    (214, 228, 220),
    (232, 222, 232),
    (206, 214, 224),
)
INK, STEEL, TIMBER, SNOW, GOLD = (
    (48, 50, 58),
    (170, 176, 184),
    (188, 138, 88),
    (255, 253, 246),
    (214, 176, 84),
)


class Icon:
    """A canvas of 100 by 100 units with three layers: under, the coloured body, over."""

    def __init__(self, side: int) -> None:
        self.unit = side / 100
        self.under = Image.new("RGBA", (side, side))
        self.body = Image.new("L", (side, side), 0)
        self.over = Image.new("RGBA", (side, side))
        self.b, self.u, self.o = (ImageDraw.Draw(layer) for layer in (self.body, self.under, self.over))

    def at(self, *points: XY) -> list[XY]:
        return [(x * self.unit, y * self.unit) for x, y in points]

    def width(self, units: float) -> int:
        return max(1, round(units * self.unit))

    def oval(
        self, draw: ImageDraw.ImageDraw, x0: float, y0: float, x1: float, y1: float, fill: object
    ) -> None:
        draw.ellipse(self.at((x0, y0), (x1, y1)), fill=fill)  # type: ignore[arg-type]

    def slab(
        self,
        draw: ImageDraw.ImageDraw,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: object,
        r: float = 0,
    ) -> None:
        draw.rounded_rectangle(self.at((x0, y0), (x1, y1)), radius=r * self.unit, fill=fill)  # type: ignore[arg-type]

    def shape(self, draw: ImageDraw.ImageDraw, points: Sequence[XY], fill: object) -> None:
        draw.polygon(self.at(*points), fill=fill)  # type: ignore[arg-type]

    def path(self, draw: ImageDraw.ImageDraw, points: Sequence[XY], fill: object, w: float) -> None:
        draw.line(self.at(*points), fill=fill, width=self.width(w), joint="curve")  # type: ignore[arg-type]

    def bow(
        self, draw: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], a: float, b: float,
        fill: object, w: float,
    ) -> None:  # fmt: skip
        x0, y0, x1, y1 = corners
        draw.arc(self.at((x0, y0), (x1, y1)), a, b, fill=fill, width=self.width(w))  # type: ignore[arg-type]


def mug(i: Icon) -> None:
    i.bow(i.b, (52, 36, 90, 74), 0, 360, 255, 8)
    i.slab(i.b, 16, 22, 70, 88, 255, 9)
    i.slab(i.b, 16, 22, 70, 40, 255)
    i.slab(i.o, 16, 22, 70, 27, (0, 0, 0, 50), 2)


def teapot(i: Icon) -> None:
    i.shape(i.b, [(66, 52), (84, 34), (95, 32), (93, 38), (78, 72)], 255)
    i.bow(i.b, (3, 38, 40, 76), 90, 270, 255, 6)
    i.oval(i.b, 20, 34, 80, 86, 255)
    i.slab(i.b, 34, 80, 66, 89, 255, 3)
    i.oval(i.b, 44, 20, 56, 32, 255)
    i.slab(i.b, 33, 30, 67, 40, 255, 5)
    i.path(i.o, [(29, 42), (71, 42)], (0, 0, 0, 80), 2)


def bottle(i: Icon) -> None:
    i.slab(i.b, 43, 10, 57, 50, 255)
    i.slab(i.b, 33, 38, 67, 95, 255, 10)
    i.slab(i.o, 41, 5, 59, 15, INK, 2)
    i.slab(i.o, 33, 60, 67, 76, SNOW)


def vase(i: Icon) -> None:
    i.shape(i.b, [(34, 14), (66, 14), (58, 34), (42, 34)], 255)
    i.oval(i.b, 22, 26, 78, 80, 255)
    i.shape(i.b, [(36, 70), (64, 70), (68, 92), (32, 92)], 255)
    i.slab(i.o, 33, 12, 67, 16, (0, 0, 0, 70), 1)


def t_shirt(i: Icon) -> None:
    i.slab(i.b, 28, 16, 72, 90, 255, 2)
    i.shape(i.b, [(34, 14), (66, 14), (97, 32), (88, 50), (72, 40), (28, 40), (12, 50), (3, 32)], 255)
    i.oval(i.b, 39, 6, 61, 24, 0)
    i.bow(i.o, (37, 4, 63, 26), 20, 160, (0, 0, 0, 70), 2)


def dress(i: Icon) -> None:
    i.shape(i.b, [(34, 8), (40, 8), (44, 20), (56, 20), (60, 8), (66, 8), (68, 28), (32, 28)], 255)
    i.shape(i.b, [(32, 28), (68, 28), (62, 44), (88, 92), (12, 92), (38, 44)], 255)
    i.slab(i.o, 37, 42, 63, 47, (0, 0, 0, 110), 1)


def hat(i: Icon) -> None:
    i.oval(i.b, 4, 56, 96, 82, 255)
    i.slab(i.b, 27, 24, 73, 72, 255, 15)
    i.slab(i.o, 27, 55, 73, 64, INK)


def shoe(i: Icon) -> None:
    i.shape(i.b, [(8, 26), (34, 30), (44, 40), (66, 52), (86, 58), (95, 68), (95, 76), (8, 76)], 255)
    i.slab(i.o, 5, 74, 97, 83, SNOW, 4)
    for x, y in ((42, 42), (50, 47), (58, 51)):
        i.path(i.o, [(x - 5, y + 6), (x + 2, y - 4)], SNOW, 2.5)


def backpack(i: Icon) -> None:
    i.bow(i.u, (38, 4, 62, 28), 180, 360, INK, 5)
    i.slab(i.b, 10, 52, 90, 84, 255, 8)
    i.slab(i.b, 20, 14, 80, 94, 255, 20)
    i.slab(i.o, 30, 54, 70, 86, (0, 0, 0, 60), 6)
    i.path(i.o, [(33, 62), (67, 62)], INK, 2)
    i.path(i.o, [(24, 40), (76, 40)], (0, 0, 0, 90), 2)


def handbag(i: Icon) -> None:
    i.bow(i.u, (28, 8, 72, 72), 180, 360, INK, 5)
    i.slab(i.b, 10, 40, 90, 88, 255, 7)
    i.shape(i.o, [(10, 44), (90, 44), (62, 64), (38, 64)], (0, 0, 0, 50))
    i.slab(i.o, 45, 58, 55, 69, GOLD, 2)


def umbrella(i: Icon) -> None:
    i.path(i.u, [(50, 6), (50, 84)], INK, 3)
    i.bow(i.u, (50, 74, 66, 94), 0, 180, INK, 4)
    i.b.pieslice(i.at((4, 12), (96, 100)), 180, 360, fill=255)
    for x in (4, 27, 50, 73):
        i.oval(i.b, x, 50, x + 23, 62, 0)
    for x in (27, 73):
        i.path(i.o, [(50, 12), (x, 56)], (0, 0, 0, 60), 1.2)


def lamp(i: Icon) -> None:
    i.slab(i.u, 47, 50, 53, 90, TIMBER)
    i.slab(i.u, 30, 88, 70, 94, TIMBER, 3)
    i.shape(i.b, [(33, 8), (67, 8), (84, 54), (16, 54)], 255)


def chair(i: Icon) -> None:
    for x0, x1 in ((30, 26), (70, 74)):
        i.path(i.u, [(x0, 60), (x1, 95)], TIMBER, 5)
    i.slab(i.b, 28, 6, 72, 50, 255, 5)
    i.slab(i.b, 32, 46, 38, 62, 255)
    i.slab(i.b, 62, 46, 68, 62, 255)
    i.slab(i.b, 22, 56, 78, 68, 255, 4)
    i.path(i.o, [(22, 67), (78, 67)], (0, 0, 0, 70), 2)


def sofa(i: Icon) -> None:
    i.slab(i.u, 14, 72, 20, 84, INK)
    i.slab(i.u, 80, 72, 86, 84, INK)
    i.slab(i.b, 14, 28, 86, 70, 255, 8)
    i.slab(i.b, 3, 44, 20, 76, 255, 7)
    i.slab(i.b, 80, 44, 97, 76, 255, 7)
    i.slab(i.b, 12, 58, 88, 76, 255, 3)
    i.path(i.o, [(50, 30), (50, 58)], (0, 0, 0, 80), 1.5)
    i.path(i.o, [(20, 58), (80, 58)], (0, 0, 0, 80), 2)
    for x in (20, 80):
        i.path(i.o, [(x, 46), (x, 75)], (0, 0, 0, 80), 1.5)


def clock(i: Icon) -> None:
    i.oval(i.b, 8, 8, 92, 92, 255)
    i.oval(i.o, 21, 21, 79, 79, SNOW)
    for x, y in ((50, 25), (50, 75), (25, 50), (75, 50)):
        i.oval(i.o, x - 2.5, y - 2.5, x + 2.5, y + 2.5, INK)
    i.path(i.o, [(50, 50), (50, 31)], INK, 4)
    i.path(i.o, [(50, 50), (66, 58)], INK, 4)


def cushion(i: Icon) -> None:
    i.shape(i.b, [(7, 13), (50, 20), (93, 13), (87, 50), (93, 89), (50, 83), (7, 89), (13, 50)], 255)
    i.path(i.o, [(20, 26), (80, 26), (80, 77), (20, 77), (20, 25)], (0, 0, 0, 40), 1.5)


def guitar(i: Icon) -> None:
    i.slab(i.u, 46, 10, 54, 50, TIMBER)
    i.slab(i.u, 43, 2, 57, 14, INK, 2)
    i.oval(i.b, 32, 40, 68, 68, 255)
    i.oval(i.b, 25, 56, 75, 97, 255)
    i.oval(i.o, 43, 54, 57, 68, INK)
    i.slab(i.o, 42, 80, 58, 84, INK)
    i.path(i.o, [(50, 14), (50, 80)], SNOW, 1)


def headphones(i: Icon) -> None:
    i.bow(i.b, (14, 12, 86, 96), 180, 360, 255, 8)
    i.slab(i.b, 6, 50, 26, 88, 255, 9)
    i.slab(i.b, 74, 50, 94, 88, 255, 9)
    i.slab(i.o, 23, 53, 30, 85, INK, 3)
    i.slab(i.o, 70, 53, 77, 85, INK, 3)


ICONS: dict[str, Callable[[Icon], None]] = {
    "mug": mug,
    "teapot": teapot,
    "bottle": bottle,
    "vase": vase,
    "t-shirt": t_shirt,
    "dress": dress,
    "hat": hat,
    "shoe": shoe,
    "backpack": backpack,
    "handbag": handbag,
    "umbrella": umbrella,
    "lamp": lamp,
    "chair": chair,
    "sofa": sofa,
    "clock": clock,
    "cushion": cushion,
    "guitar": guitar,
    "headphones": headphones,
}


def cloth(colour: str, pattern: str, side: int) -> Image.Image:
    """Return the body's material: RGB, plain or printed with the pattern, on the whole canvas."""
    base = PALETTE[colour]
    sheet = Image.new("RGB", (side, side), base)
    draw = ImageDraw.Draw(sheet)
    print_colour = (120, 128, 140) if colour in ("white", "yellow") else (255, 255, 255)
    step = side // 11
    for n in range(-1, 13):
        if pattern == "striped":
            draw.rectangle((0, n * step, side, n * step + step * 2 // 5), fill=print_colour)
        if pattern == "dotted":
            for m in range(13):
                x, y = m * step + (n % 2) * step // 2, n * step
                draw.ellipse((x, y, x + step // 2, y + step // 2), fill=print_colour)
        if pattern == "checked":
            for m in range(13):
                x, y = (2 * m + n % 2) * step, n * step
                draw.rectangle((x, y, x + step - 1, y + step - 1), fill=print_colour)
    return sheet


def ground(side: int, rng: random.Random) -> Image.Image:
    """Return a background: one colour, a disc behind the object, or a wall and a table."""
    wall, other = rng.sample(GROUNDS, 2)
    sheet = Image.new("RGB", (side, side), wall)
    draw = ImageDraw.Draw(sheet)
    form = rng.choice(("plain", "disc", "table"))
    if form == "disc":
        draw.ellipse((side * 0.03, side * 0.03, side * 0.97, side * 0.97), fill=other)
    if form == "table":
        draw.rectangle((0, side * 0.72, side, side), fill=other)
    return sheet


def render(kind: str, colour: str, pattern: str = "plain", size: int = 256, seed: int = 0) -> Image.Image:
    """Draw an icon: RGB, ``size`` × ``size``. The seed chooses the background and how large the object is."""
    rng = random.Random(f"{kind}/{colour}/{seed}")
    side = 2 * size
    sheet = ground(side, rng)
    inner = round(side * rng.uniform(0.62, 0.84))
    corner = ((side - inner) // 2, (side - inner) // 2 + rng.randint(0, side // 30))
    icon = Icon(inner)
    ICONS[kind](icon)
    sheet.paste(icon.under, corner, icon.under)
    sheet.paste(cloth(colour, pattern, inner), corner, icon.body)
    # Details that lie on the body stay on it where they only darken it.
    alpha = icon.over.getchannel("A")
    opaque = alpha.point(lambda a: 255 if a > 200 else 0)
    sheet.paste(icon.over, corner, ImageChops.lighter(opaque, ImageChops.darker(alpha, icon.body)))
    return sheet.resize((size, size), Image.Resampling.LANCZOS)
