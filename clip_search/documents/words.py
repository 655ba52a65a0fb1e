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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any, Final, NamedTuple

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
MANY_PARTS: Final = 16
"""In a chunk of more parts, such as a web address or a Chinese sentence, only two neighbours are joined."""
PAIRED_PARTS: Final = 64
"""How many parts of a text are joined with their neighbours in other chunks.

This finds phrases and split spellings. Descriptions of 300 words would otherwise double the index. Numbers
are always joined: a size may come last."""
BEGINNING: Final = "^"
"""Comes before the beginnings of codes, such as "^sku4" of "SKU-4711", to tell them from words."""
SHORTEST_BEGINNING: Final = 3
LONGEST_CODE: Final = 40
SPELT_PARTS: Final = 3
"""Joined parts of a chunk are in the vocabulary, such as "tshirt", if they are no more than these."""
LONGEST_SPELT: Final = 40
"""Longer words are not in the vocabulary: nobody types them."""
CHUNKS_KEPT: Final = 16_384
"""How many chunks of texts are kept in memory with their words, for each language: about 10 MB.

Shops repeat words, so this finds the words of a text eight times as fast."""
STEMS_KEPT: Final = 32_768
"""How many words are kept in memory with their stems, for each language: about 5 MB.

Neighbours that are joined to one word repeat too. They are not among the chunks."""

K1, B, AVERAGE = 1.2, 0.75, 100
"""Parameters of BM25; AVERAGE is the number of words of a text that is neither long nor short."""

_INCH_MARKS: Final = ('"', "''", "\N{DOUBLE PRIME}", "\N{RIGHT DOUBLE QUOTATION MARK}")
_INCHES = re.compile(rf"(?<=[\d\u00bc-\u00be\u2150-\u215e])\s?(?:{'|'.join(_INCH_MARKS)})")
_WITHOUT_SPACES = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Japanese and Chinese, which are written without spaces: each character is a part."""


_NUMBER = r"(?:\d+\.\d{1,2}(?!\d)|\d{1,2}/\d{1,2}(?!\d)|\d+)"


@lru_cache(maxsize=1)
def _part() -> re.Pattern[str]:
    """Return the pattern of a part. Marks that `fold()` keeps, as in Hindi, belong to their letter."""
    marks = "".join(char for char in map(chr, range(0x300, 0x10000)) if unicodedata.category(char)[0] == "M")
    letter = rf"[^\W\d_{_WITHOUT_SPACES}][{marks}]*"
    return re.compile(rf"(?:(?:{letter})+|{_NUMBER})(?:[+#]+(?!\w))?|[{_WITHOUT_SPACES}][{marks}]*")


_ASCII_PART = re.compile(rf"(?:[a-z]+|{_NUMBER})(?:[+#]+(?![a-z0-9]))?")


def chunks(text: str, elision: re.Pattern[str] | None = None) -> Iterator[list[str]]:
    """Yield the parts of each chunk of a text, folded. Chunks without a letter or digit are left out.

    What `elision` matches is removed, such as the article of "l'eau".
    """
    for raw in _split(text):
        yield from _parts_of(raw, elision)


def _split(text: str) -> list[str]:
    """Return the chunks of a text as they are written. Inch marks are replaced by a word."""
    if any(mark in text for mark in _INCH_MARKS):
        text = _INCHES.sub(" inch ", text)
    return text.split()


def _parts_of(raw: str, elision: re.Pattern[str] | None) -> Iterator[list[str]]:
    """Yield the parts of a chunk of `_split()`, folded. An elision or a fraction makes it several chunks."""
    folded = fold(raw).replace("\N{FRACTION SLASH}", "/")
    if elision:
        folded = elision.sub(" ", folded)
    for chunk in folded.split():
        if parts := (_ASCII_PART if chunk.isascii() else _part()).findall(_with_point(chunk)):
            yield [part[:LONGEST_WORD] for part in parts]


def _with_point(chunk: str) -> str:
    """Return a chunk with a decimal point instead of a decimal comma: 3,5 is 3.5."""
    return re.sub(r"(?<=\d),(?=\d{1,2}(?!\d))", ".", chunk) if "," in chunk else chunk


def is_code(parts: Sequence[str]) -> bool:
    """Return whether a chunk is a code such as a model number or a size: it has a digit and several parts."""
    return len(parts) > 1 and any(part[0].isdigit() for part in parts)


def joins(parts: Sequence[str]) -> Iterator[str]:
    """Yield the joined neighbours among the parts of one chunk, and the whole chunk."""
    most = JOINED_PARTS if len(parts) <= MANY_PARTS else 2
    for start in range(len(parts)):
        for end in range(start + 2, min(start + most, len(parts)) + 1):
            yield "".join(parts[start:end])[:LONGEST_JOIN]
    if len(parts) > most:
        yield "".join(parts)[:LONGEST_JOIN]


class _Chunk(NamedTuple):
    """What a chunk of a text, as it is written, adds to the words of a product."""

    length: int
    """The number of its parts."""
    terms: tuple[str, ...]
    """The stems of its parts and joins."""
    counted: tuple[str, ...]
    """Those of the terms that have a weight: stop words have none."""
    paired: tuple[str, ...]
    """The parts that are joined with those of other chunks."""
    vocabulary: tuple[str, ...]


class Analyser:
    """Finds the words of texts in one language. Get one from `analyser()`."""

    def __init__(self, language: str) -> None:
        code = language.lower().partition("-")[0]
        self.language = code
        self.algorithm: str = ALGORITHMS.get(code, "")
        """The name of the Snowball stemmer; "" if there is none for the language."""
        self.stop_words = STOP_WORDS.get(code, frozenset())
        self.fillers = FILLERS.get(code, frozenset())
        self.elision = ELISIONS.get(code)
        self._irregular = IRREGULAR.get(code, {})
        self._stemmers = threading.local()  # a stemmer must not be used by two threads at once
        self._kept = lru_cache(CHUNKS_KEPT)(self._analyse)
        self._kept_stem = lru_cache(STEMS_KEPT)(self._stem)

    @cached_property
    def fingerprint(self) -> str:
        """A string that changes when texts get other words, as they may with another PyStemmer."""
        if not self.algorithm:
            return f"{VERSION}"
        import Stemmer

        return f"{VERSION}:{self.algorithm}:{Stemmer.version()}"

    def chunks(self, text: str) -> Iterator[list[str]]:
        """Yield the parts of each chunk of a text, folded. See `chunks()`."""
        return chunks(text, self.elision)

    def stem(self, word: str) -> str:
        """Return the stem of a folded word. Words with a digit, or of two letters, stay as they are."""
        return self._kept_stem(word[:LONGEST_WORD])

    def _stem(self, word: str) -> str:
        if not self.algorithm or len(word) < 3 or not (word.isalpha() or _is_spelt(word)):
            return word
        stemmer: Any = getattr(self._stemmers, "value", None)
        if stemmer is None:
            import Stemmer

            stemmer = self._stemmers.value = Stemmer.Stemmer(self.algorithm, 0)
        stem = str(stemmer.stemWord(self._irregular.get(word, word)))
        if self.algorithm == "french" and len(stem) > 3 and stem[-1] == "s" and stem[-2] in "aiou":
            return stem[:-1]  # of "velos", "bleus"; Snowball takes it for a part of the word, as in "tapis"
        return stem

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
            found = [self._chunk(raw) for raw in _split(text)]
            length = sum(chunk.length for chunk in found)
            step = weight / (1 - B + B * length / AVERAGE)
            terms.update(dict.fromkeys(chain.from_iterable(chunk.terms for chunk in found)))
            terms.update(dict.fromkeys(self._pairs(found)))
            for stem, count in Counter(chain.from_iterable(chunk.counted for chunk in found)).items():
                occurrences[stem] = occurrences.get(stem, 0.0) + step * count
            vocabulary.update(*map(_vocabulary, found))
        for code in codes:
            terms.update(dict.fromkeys(code_terms(code)))
        weights = {term: (K1 + 1) / (1 + K1 / count) for term, count in occurrences.items()}
        return Words(terms=tuple(terms), weights=weights, vocabulary=frozenset(vocabulary))

    def vocabulary_of(self, texts: Iterable[tuple[str, float]]) -> set[str]:
        """Return `words_of(texts).vocabulary`, in a fraction of the time."""
        found: set[str] = set()
        for text, _ in texts:
            raw = set(_split(text))
            is_short = len(max(raw, key=len, default="")) <= LONGEST_WORD
            found.update(*map(_vocabulary, map(self._kept if is_short else self._chunk, raw)))
        return found

    def _pairs(self, found: Iterable[_Chunk]) -> Iterator[str]:
        """Yield the stems of joined neighbours. Stop words are skipped."""
        parts = [part for chunk in found for part in chunk.paired]
        for number, (one, other) in enumerate(pairwise(parts), 1):
            if number < PAIRED_PARTS or one[0].isdigit() or other[0].isdigit():
                yield self.stem(one + other)

    def _chunk(self, raw: str) -> _Chunk:
        """Return what a chunk of `_split()` adds to the words, from memory if it is there."""
        return self._kept(raw) if len(raw) <= LONGEST_WORD else self._analyse(raw)

    def _analyse(self, raw: str) -> _Chunk:
        """Return what a chunk of `_split()` adds to the words."""
        words: list[str] = []
        paired: list[str] = []
        spelt: list[str] = []
        length = 0
        for parts in _parts_of(raw, self.elision):
            length += len(parts)
            words += parts
            paired += [part for part in parts if part not in self.stop_words]
            spelt += parts
            if len(parts) > 1:
                words += joins(parts)
                spelt += ["".join(parts)] if len(parts) <= SPELT_PARTS else []
        terms = tuple(self.stem(word) for word in words)
        counted = tuple(self.stem(word) for word in words if word not in self.stop_words)
        vocabulary = tuple(
            word
            for word in dict.fromkeys(spelt)
            if 2 < len(word) <= LONGEST_SPELT and not word[0].isdigit() and word not in self.stop_words
        )
        return _Chunk(
            length=length,
            terms=terms,
            counted=terms if counted == terms else counted,  # the same object, to save memory
            paired=tuple(paired),
            vocabulary=vocabulary,
        )


_vocabulary = attrgetter("vocabulary")


def _is_spelt(word: str) -> bool:
    """Return whether a word with other characters than letters has only marks among them, as in Hindi."""
    return not any(char.isdigit() or char in "+#" for char in word)


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


IRREGULAR: Final = {
    "en": {
        "knives": "knife", "shelves": "shelf", "bookshelves": "bookshelf", "scarves": "scarf",
        "leaves": "leaf", "loaves": "loaf", "wolves": "wolf", "halves": "half", "calves": "calf",
        "hooves": "hoof", "elves": "elf", "dwarves": "dwarf", "thieves": "thief", "wives": "wife",
        "men": "man", "mens": "man", "women": "woman", "womens": "woman", "children": "child",
        "childrens": "child", "feet": "foot", "teeth": "tooth", "mice": "mouse", "geese": "goose",
        "buses": "bus", "lens": "lenses",
    },
    "fr": {
        "travaux": "travail", "vitraux": "vitrail", "emaux": "email", "coraux": "corail", "yeux": "oeil",
    },
}  # fmt: skip
"""Plurals that Snowball does not bring together with their singulars, folded, by language."""


@lru_cache(maxsize=64)
def analyser(language: str) -> Analyser:
    """Return the analyser for a Django language code, such as "en" or "pt-br"."""
    return Analyser(language)
