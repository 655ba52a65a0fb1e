"""Cleaning and normalising text."""

from __future__ import annotations

import random

import pytest

from clip_search.documents.text import clean, normalise
from tests.shops.shop.models import Product

from .declarations import declare


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("<p>Red <b>mug</b></p>", "Red mug"),
        ("<p>Red</p><p>mug</p>", "Red mug"),
        ("Red<br>mug<br/>blue", "Red mug blue"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ("re<b>d</b>", "red"),
        ("salt &amp; pepper", "salt & pepper"),
        ("a&nbsp;b\n\n c\t d", "a b c d"),
        ("5 < 6 > 4", "5 < 6 > 4"),
        ("<pinned>x", "x"),
        (None, "None"),
        (12, "12"),
    ],
)
def test_clean(html, text):
    assert clean(html) == text


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("SKU-4711", "sku4711"),
        ("  sku _ 4711 ", "sku4711"),
        ("Crème brûlée", "cremebrulee"),
        ("CŒUR", "coeur"),
        ("Tromsø", "tromso"),
        ("ŁÓDŹ", "lodz"),
        ("İSTANBUL", "istanbul"),
        ("bardağı", "bardagi"),
        ("C++", "c++"),
        ("C#", "c#"),
        ("C", "c"),
        ("Galaxy S20+ (black)", "galaxys20+black"),
        ("C + #1 +", "c1"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ﬁne", "fine"),
        ("℡", "tel"),
        ("…", ""),
        ("", ""),
    ],
)
def test_normalise(text, bare):
    assert normalise(text) == bare


def test_normalise_is_idempotent():
    rng = random.Random(4)
    for _ in range(3000):
        text = "".join(chr(rng.choice([rng.randrange(32, 0x2200), rng.randrange(0xE000)])) for _ in range(5))
        assert normalise(normalise(text)) == normalise(text), ascii(text)


def test_text_in_declared_order_without_what_is_empty():
    mug = Product(name="Red <i>mug</i>", description="", sku="M-1")
    assert declare(text_fields=("sku", "description", "name")).declaration.get_text(mug) == "M-1. Red mug"
