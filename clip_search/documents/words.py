"""Split texts into words and reduce these to stems, so that a query meets the texts that say the same.

A text is folded (`text.fold`) and split at white space into *chunks*, and each chunk into *parts*: runs of
letters and numbers. "XR-4200/2 mug" has the chunks "xr-4200/2" and "mug", and the parts "xr", "4200", "2" and
"mug". Joined neighbours, such as "xr4200", are words as well. So every spelling finds the others: "tshirt",
"t-shirt" and "t shirt", or "xr4200" and "XR 4200".
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from ..types import Words
from .stop_words import FILLERS, STOP_WORDS
from .text import fold

VERSION: Final = 1
"""Raise this when a change here gives a text other words. All products are then written again, once."""

LONGEST_WORD: Final = 64
"""Longer words are cut. A text may contain 10 kB without a space."""
LONGEST_JOIN: Final = 128
JOINED_PARTS: Final = 4
"""How many parts of a chunk are joined to one word at most."""
PAIRED_PARTS: Final = 64
"""How many parts of a text are joined with their neighbours in other chunks.

This finds phrases and split spellings. Descriptions of 300 words would otherwise double the index."""
BEGINNING: Final = "^"
"""Comes before the beginnings of codes, such as "^sku4" of "SKU-4711", to tell them from words."""
SHORTEST_BEGINNING: Final = 3
LONGEST_CODE: Final = 40

K1, B, AVERAGE = 1.2, 0.75, 100
"""Parameters of BM25; AVERAGE is the number of words of a text that is neither long nor short."""

_INCHES = re.compile(r"(?<=\d)\s?(?:\"|''|\N{DOUBLE PRIME}|\N{RIGHT DOUBLE QUOTATION MARK})")
_WITHOUT_SPACES = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Japanese and Chinese, which are written without spaces: each character is a part."""


@lru_cache(maxsize=1)
def _part() -> re.Pattern[str]:
    """Return the pattern of a part. Marks that `fold()` keeps, as in Hindi, belong to their letter."""
    marks = "".join(char for char in map(chr, range(0x300, 0x10000)) if unicodedata.category(char)[0] == "M")
    letter = rf"[^\W\d_{_WITHOUT_SPACES}][{marks}]*"
    number = r"\d+\.\d{1,2}(?!\d)|\d{1,2}/\d{1,2}(?!\d)|\d+"
    return re.compile(
        rf"(?:{letter})+(?:[+#]+(?!\w))?|(?:{number})(?:[+#]+(?!\w))?|[{_WITHOUT_SPACES}][{marks}]*"
    )


_ASCII_PART = re.compile(
    r"[a-z]+(?:[+#]+(?![a-z0-9]))?|(?:\d+\.\d{1,2}(?!\d)|\d{1,2}/\d{1,2}(?!\d)|\d+)(?:[+#]+(?![a-z0-9]))?"
)


def chunks(text: str, elision: re.Pattern[str] | None = None) -> Iterator[list[str]]:
    """Yield the parts of each chunk of a text, folded. Chunks without a letter or digit are left out.

    What `elision` matches is removed, such as the article of "l'eau".
    """
    text = fold(_INCHES.sub(" in ", text)).replace("\N{FRACTION SLASH}", "/")
    if elision:
        text = elision.sub(" ", text)
    for chunk in text.split():
        if parts := (_ASCII_PART if chunk.isascii() else _part()).findall(_with_point(chunk)):
            yield [part[:LONGEST_WORD] for part in parts]


def _with_point(chunk: str) -> str:
    """Return a chunk with a decimal point instead of a decimal comma: 3,5 is 3.5."""
    return re.sub(r"(?<=\d),(?=\d{1,2}(?!\d))", ".", chunk) if "," in chunk else chunk


def is_code(parts: Sequence[str]) -> bool:
    """Return whether a chunk is a code such as a model number or a size: it has a digit and several parts."""
    return len(parts) > 1 and any(part[0].isdigit() for part in parts)


def joins(parts: Sequence[str]) -> Iterator[str]:
    """Yield all joined neighbours among the parts of one chunk, and the whole chunk."""
    for start in range(len(parts)):
        for end in range(start + 2, min(start + JOINED_PARTS, len(parts)) + 1):
            yield "".join(parts[start:end])[:LONGEST_JOIN]
    if len(parts) > JOINED_PARTS:
        yield "".join(parts)[:LONGEST_JOIN]


class Analyser:
    """Finds the words of texts in one language. Get one from `analyser()`."""

    def __init__(self, language: str) -> None:
        code = language.lower().partition("-")[0]
        self.language = code
        self.algorithm: str = ALGORITHMS.get(code, "")
        """The name of the Snowball stemmer; "" if there is none for the language."""
        self.stop_words = STOP_WORDS.get(code, frozenset())
        self.fillers = FILLERS.get(code, frozenset())
        self._stemmers = threading.local()  # a stemmer must not be used by two threads at once

        self.elision = ELISIONS.get(code)

    @cached_property
    def fingerprint(self) -> str:
        """A string that changes when texts get other words."""
        return f"{VERSION}:{self.algorithm}"

    def chunks(self, text: str) -> Iterator[list[str]]:
        """Yield the parts of each chunk of a text, folded. See `chunks()`."""
        return chunks(text, self.elision)

    def stem(self, word: str) -> str:
        """Return the stem of a folded word. Words with digits, and those of two letters, stay as they are."""
        word = word[:LONGEST_WORD]
        if not self.algorithm or len(word) < 3 or not word.isalpha():
            return word
        stemmer: Any = getattr(self._stemmers, "value", None)
        if stemmer is None:
            import Stemmer

            stemmer = self._stemmers.value = Stemmer.Stemmer(self.algorithm, 20_000)
        return str(stemmer.stemWord(word))

    def is_stop_word(self, word: str) -> bool:
        """Return whether a folded word is a function word of the language."""
        return word in self.stop_words

    def words_of(self, texts: Iterable[tuple[str, float]], codes: Iterable[str] = ()) -> Words:
        """Return the words of a product with (text, weight) pairs and codes, such as its SKU.

        The weight of a word follows BM25F (Robertson, Zaragoza & Taylor, "Simple BM25 extension to multiple
        weighted fields", CIKM 2004): occurrences are counted by field, divided by a factor for the length of
        the field, multiplied by the field's weight and added up; K1 limits the sum. The store multiplies by
        the inverse document frequency.
        """
        terms: dict[str, None] = {}
        occurrences: dict[str, float] = {}
        vocabulary: set[str] = set()
        for text, weight in texts:
            self._add(text, weight, terms, occurrences, vocabulary)
        for code in codes:
            terms.update(dict.fromkeys(code_terms(code)))
        weights = {term: (K1 + 1) / (1 + K1 / count) for term, count in occurrences.items()}
        return Words(terms=tuple(terms), weights=weights, vocabulary=frozenset(vocabulary))

    def _add(
        self,
        text: str,
        weight: float,
        terms: dict[str, None],
        occurrences: dict[str, float],
        vocabulary: set[str],
    ) -> None:
        found = list(self.chunks(text))
        length = sum(map(len, found))
        step = weight / (1 - B + B * length / AVERAGE)
        paired, previous = 0, ""
        for parts in found:
            joined = list(joins(parts)) if len(parts) > 1 else ()
            for word in (*parts, *joined):
                stem = self.stem(word)
                terms[stem] = None
                if word not in self.stop_words:
                    occurrences[stem] = occurrences.get(stem, 0.0) + step
                    if len(word) > 2 and not word[0].isdigit():
                        vocabulary.add(word)
            for part in parts:
                if part in self.stop_words or paired >= PAIRED_PARTS:
                    continue
                if previous:
                    terms[self.stem(previous + part)] = None
                previous, paired = part, paired + 1


def has_code_terms(code: str) -> bool:
    """Return whether an exact text is a code: it has a digit, no white space and at most 40 characters."""
    return len(code) <= LONGEST_CODE and len(code.split()) == 1 and any(char.isdigit() for char in code)


def code_terms(code: str) -> Iterator[str]:
    """Yield the terms that find a code such as "SKU-4711": as a whole, by its beginning and by its parts.

    Names are no codes: see `has_code_terms()`.
    """
    if not has_code_terms(code):
        return
    for parts in chunks(code):
        whole = "".join(parts)
        yield whole
        for end in range(SHORTEST_BEGINNING, len(whole) + 1):
            yield BEGINNING + whole[:end]
        for part in parts:
            if len(part) >= SHORTEST_BEGINNING:
                yield BEGINNING + part


ALGORITHMS: Final = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "cs": "czech", "da": "danish",
    "nl": "dutch", "en": "english", "eo": "esperanto", "et": "estonian", "fi": "finnish", "fr": "french",
    "de": "german", "el": "greek", "hi": "hindi", "hu": "hungarian", "id": "indonesian", "ga": "irish",
    "it": "italian", "lt": "lithuanian", "ne": "nepali", "nb": "norwegian", "nn": "norwegian",
    "no": "norwegian", "fa": "persian", "pl": "polish", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sr": "serbian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""The Snowball stemmer of PyStemmer for each language code."""


ELISIONS: Final = {
    "fr": re.compile(r"\b(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu)['\N{RIGHT SINGLE QUOTATION MARK}]"),
    "it": re.compile(
        r"\b(?:[cdlmstnv]|un|dell|all|dall|nell|sull|quell|quest)['\N{RIGHT SINGLE QUOTATION MARK}]"
    ),
}
"""Articles and pronouns that lose their vowel before another one, by language."""


@lru_cache(maxsize=64)
def analyser(language: str) -> Analyser:
    """Return the analyser for a Django language code, such as "en" or "pt-br"."""
    return Analyser(language)
