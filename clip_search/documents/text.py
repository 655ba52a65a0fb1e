"""Text as a shopper reads it, and the form in which exact words are compared."""

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
"""Tags that separate words on the page, even if there is no space beside them in the source."""

_LETTERS = str.maketrans(
    {"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "×": "x"}
    | {"ی": "ي", "ک": "ك"}  # the same letters on Persian and Arabic keyboards
)
"""What shoppers type for letters that have no Unicode decomposition."""
_MINUS = "\N{MINUS SIGN}"
_SEPARATORS = {".": ".", ",": ".", "/": "/", "\N{FRACTION SLASH}": "/"}
"""What is kept between two digits; anything else becomes a hyphen."""


def clean(value: Any) -> str:
    """Return text as a shopper reads it: without HTML, entities resolved, single spaces."""
    text = str(value)
    if "<" in text:
        text = strip_tags(_BREAKS.sub(r" \g<0>", text))
    return " ".join(html.unescape(text).split())


def normalise(value: str) -> str:
    """Return text without case, accents, spaces and punctuation, for comparing exact words.

    Numbers stay apart: 3.5 is not 35, 1-12 is not 11-2, and -5 is not 5. A + or # that follows a letter or
    digit is kept: C is not C#, and a Galaxy S20 is not a Galaxy S20+.
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
                    kept.append(_MINUS)  # a hyphen after a letter joins, as in "RM-001"
            kept.append(char)
            skipped = ""
    return "".join(kept)


def fold(value: str) -> str:
    """Return text without case, and without the marks that a reader of its language would leave out.

    Compatibility forms are unified (NFKC: full width, ligatures), digits of all scripts become 0 to 9. Marks
    are removed only where they do not make another letter or vowel:

    * Latin and Greek: all (é, ü, ά).
    * Cyrillic: stress, and the dots of ё; but й, ї, ў, ѓ and ќ are letters of their own.
    * Arabic: vowel signs, tatweel, and the hamza and madda of an alef; but ؤ and ئ are kept.
    * Hebrew: points and cantillation marks.
    * All others, such as Devanagari, Thai, Japanese: none, since they are vowels, tones or other letters.
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
    """Return whether a character is like ½ or ², whose digits are not those of a number before it."""
    return char.isnumeric() and unicodedata.decomposition(char).startswith(("<fraction>", "<super>", "<sub>"))


def _is_optional(mark: str, base: str) -> bool:
    """Return whether readers would leave out a mark on this base letter."""
    script = unicodedata.name(base, "").partition(" ")[0]
    if script in ("LATIN", "GREEK", "HEBREW"):
        return True
    if script == "CYRILLIC":
        stress = mark in "\u0300\u0301" and base not in "гк"
        return stress or (mark == "\u0308" and base == "е")
    if script == "ARABIC":
        return not "\u0653" <= mark <= "\u0655" or base == "ا"
    return False
