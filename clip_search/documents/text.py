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

_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})
"""What shoppers type for letters that have no Unicode decomposition."""


def clean(value: Any) -> str:
    """Return text as a shopper reads it: without HTML, entities resolved, single spaces."""
    text = str(value)
    if "<" in text:
        text = strip_tags(_BREAKS.sub(r" \g<0>", text))
    return " ".join(html.unescape(text).split())


def normalise(value: str) -> str:
    """Return text without case, accents, spaces and punctuation, for comparing exact words.

    A + or # that follows a letter or digit is kept: C is not C#, and a Galaxy S20 is not a Galaxy S20+.
    """
    folded = unicodedata.normalize("NFKD", value).casefold()
    decomposed = unicodedata.normalize("NFKD", folded).translate(_LETTERS)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return "".join(re.findall(r"[^\W_]+[+#]*", bare))
