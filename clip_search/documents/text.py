"""Removes HTML from texts, and normalises texts for exact matches."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

from django.utils.html import strip_tags

_BREAKS = re.compile(
    r"</?(?:address|article|aside|blockquote|br|d[dlt]|div|figure|footer|h[1-6]|header|hr|li|main|nav|ol|option"
    r"|p|pre|section|t[dhr]|table|ul)\b",
    re.IGNORECASE,
)
"""HTML tags that separate words on a page, even if there is no space next to them in the source."""

_LETTERS = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "×": "x"}
    | {"ی": "ي", "ک": "ك"}  # a Persian keyboard types the first of each pair, an Arabic one the second
)
"""Letters that Unicode cannot decompose, with the letters that shoppers type for them."""
_MINUS = "\N{MINUS SIGN}"
_SEPARATORS = {".": ".", ",": ".", "/": "/", "\N{FRACTION SLASH}": "/"}
"""Characters that are kept between two digits. All others between two digits become a hyphen."""


def clean(value: Any) -> str:
    """Return a value as plain text: without HTML tags, with entities such as `&amp;` decoded.

    Each run of white space becomes one space.
    """
    text = str(value)
    if "<" in text:
        text = strip_tags(_BREAKS.sub(r" \g<0>", text))
    return " ".join(html.unescape(text).split())


def normalise(value: str) -> str:
    """Return text in lower case, without accents, spaces and punctuation, to find exact matches.

    Different numbers stay different: 3.5 is not 35, 1-12 is not 11-2, and -5 is not 5. A + or # after a
    letter or digit is kept: C is not C#, and a Galaxy S20 is not a Galaxy S20+.
    """
    kept: list[str] = []
    skipped = ""
    for char in fold(value):
        if char in "+#" and kept and not skipped:
            kept.append(char)
        elif not char.isalnum() and not unicodedata.category(char).startswith("M"):
            skipped += char
        else:
            if skipped and char.isdecimal():
                if kept and kept[-1].isdecimal():
                    kept.append(_SEPARATORS.get(skipped.strip(), "-"))
                elif skipped.endswith(_MINUS) or re.search(r"\s-$", skipped if kept else f" {skipped}"):
                    kept.append(_MINUS)  # a minus sign; the hyphen in "RM-001" is not one
            kept.append(char)
            skipped = ""
    return "".join(kept)


def fold(value: str) -> str:
    """Return text in lower case, without the accents and other marks that shoppers may not type.

    Full-width letters and ligatures become plain letters (Unicode NFKC), and digits of all scripts become 0
    to 9. It depends on the script which marks are removed:

    * Latin and Greek: all marks (é, ü, ά).
    * Cyrillic: stress marks and the dots of ё. The letters й, ї, ў, ѓ and ќ stay.
    * Arabic: vowel signs, tatweel, and the hamza and madda of an alef. The letters ؤ and ئ stay.
    * Hebrew: points and cantillation marks.
    * Other scripts, such as Devanagari, Thai and Japanese: none, because there marks are vowels, tones or
      parts of letters.
    """
    if value.isascii():
        return value.lower()
    spaced = "".join(f" {char}" if _is_fraction_or_power(char) else char for char in value)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", spaced).casefold())
    kept, base = [], ""
    for char in unicodedata.normalize("NFD", text):
        if not unicodedata.category(char).startswith("M"):
            base = char
        elif not base.isalpha() or _is_optional(char, base):
            continue
        kept.append(str(unicodedata.decimal(char)) if char.isdecimal() else char)
    return unicodedata.normalize("NFC", "".join(kept).replace(_TATWEEL, "")).translate(_LETTERS)


_TATWEEL = "\N{ARABIC TATWEEL}"


def _is_fraction_or_power(char: str) -> bool:
    """Return whether a character is a fraction such as ½ or a raised or lowered digit such as ².

    Its digits must not be joined to a number before it: 5½ is not 51/2.
    """
    return char.isnumeric() and unicodedata.decomposition(char).startswith(("<fraction>", "<super>", "<sub>"))


def _is_optional(mark: str, base: str) -> bool:
    """Return whether `fold()` removes this mark (such as an accent) from this base letter."""
    script = unicodedata.name(base, "").partition(" ")[0]
    if script in ("LATIN", "GREEK", "HEBREW"):
        return True
    if script == "CYRILLIC":
        stress = mark in "\u0300\u0301" and base not in "гк"
        return stress or (mark == "\u0308" and base == "е")
    if script == "ARABIC":
        return not "\u0653" <= mark <= "\u0655" or base == "ا"
    return False
