"""Read what a shopper typed: words that a product must have, phrases, exclusions, and codes such as SKUs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from ..documents.binding import BoundDocument
from ..documents.text import fold, normalise
from ..documents.words import (
    BEGINNING,
    LONGEST_CODE,
    LONGEST_JOIN,
    SHORTEST_BEGINNING,
    Analyser,
    is_code,
)

MOST_WORDS: Final = 32
"""Words of a query beyond this are only embedded. A condition for each of 200 words would be slow."""
MOST_PARTS: Final = 8
"""Parts of a chunk beyond this are only part of the whole."""
SHORTEST_CODE: Final = 4
"""A part of a query with fewer letters and digits is no code: "24" in "pan 24" is not meant as a SKU."""

OTHER_SPELLING: Final = 0.5
"""The weight of an alternative in the ranking by words; the spelling of the shopper has the weight 1.

A synonym may be rarer in the shop than the word itself, and would come before it."""

_QUOTES: Final = '"“”„«»'
_PHRASE = re.compile(rf"(?:(?<=\s)|^)(-?)[{_QUOTES}]([^{_QUOTES}]+)[{_QUOTES}](?=\s|$)")
_EXCLUDED = re.compile(r"(?:(?<=\s)|^)(?<!^\w\s)(?<!\s\w\s)-(?=[^\W\d_])(\S+)")

Alternative = tuple[str, ...]
"""Terms that a product must all have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A word, code or phrase of a query. A product has it if it has all terms of one alternative."""

    text: str
    """As the shopper typed it, folded."""
    alternatives: Sequence[Alternative]
    is_word: bool = False
    """True if it is a single word of letters, whose spelling may be corrected."""
    is_phrase: bool = False
    is_last: bool = False
    """True if it ends the query, so the shopper may not have typed all of it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedText:
    """What a shopper typed."""

    wanted: Sequence[Wanted] = ()
    """What a product must have: the words that carry meaning, the codes and the phrases."""
    excluded: Sequence[Wanted] = ()
    """What a product must not have."""
    exact: Sequence[str] = ()
    """What may be the value of an exact field: the whole query, and each code in it. Normalised."""
    meaning: str = ""
    """The text to embed: without operators."""
    ranked: Mapping[str, float] = field(default_factory=dict)
    """The weight of each term in the ranking by words."""


def parse(document: BoundDocument, text: str) -> ParsedText:
    """Return what the shopper wants. Every text has an answer; one of operators only wants nothing."""
    return Parser(document).parse(text)


class Parser:
    """Parses the queries of one document."""

    def __init__(self, document: BoundDocument) -> None:
        declared = document.declaration
        self.analyser: Analyser = document.analyser
        self.ignored = (
            self.analyser.stop_words | self.analyser.fillers | {fold(w) for w in declared.stop_words}
        )
        self.synonyms = synonyms(self.analyser, declared.synonyms)
        self.longest_synonym = max(map(len, self.synonyms), default=0)

    def parse(self, text: str) -> ParsedText:
        phrases: list[Wanted] = []
        excluded: list[Wanted] = []
        for match in _PHRASE.finditer(text):
            if phrase := self.phrase(match[2]):
                (excluded if match[1] else phrases).append(phrase)
        rest = _PHRASE.sub(" ", text)
        for match in _EXCLUDED.finditer(rest):
            excluded += self.wanted(match[1])
        rest = _EXCLUDED.sub(" ", rest)
        wanted = [*self.wanted(rest, is_all=not phrases), *phrases][:MOST_WORDS]
        meant = _PHRASE.sub(lambda match: " " if match[1] else f" {match[2]} ", text)
        meaning = " ".join(_EXCLUDED.sub(" ", meant).split())
        return ParsedText(
            wanted=wanted,
            excluded=excluded[:MOST_WORDS],
            exact=self.exact(meaning),
            meaning=meaning,
            ranked=ranked_terms(wanted),
        )

    def wanted(self, text: str, *, is_all: bool = True) -> list[Wanted]:
        """Return the words and codes of a text without operators.

        Words that say nothing are left out. If there are no others, and the text `is_all` of the query, they
        are kept: somebody may look for "The Who".
        """
        found = list(self.analyser.chunks(text))
        chunks = [parts for parts in found if not self.says_nothing(parts)]
        if is_all:
            chunks = chunks or found
        stems = [self.analyser.stem("".join(parts)) for parts in chunks]
        alternatives = [self.alternatives(chunks, number) for number in range(len(chunks))]
        for start in range(len(stems)):
            for end in range(start + 1, min(start + self.longest_synonym, len(stems)) + 1):
                for number in range(start, end):
                    alternatives[number] += self.synonyms.get(tuple(stems[start:end]), ())
        return [
            Wanted(
                text=("" if is_code(parts) else "-").join(parts)[:LONGEST_JOIN],
                alternatives=tuple(dict.fromkeys(alternatives[number])),
                is_word=len(parts) == 1 and parts[0].isalpha(),
                is_last=number == len(chunks) - 1,
            )
            for number, parts in enumerate(chunks)
        ]

    def says_nothing(self, parts: Sequence[str]) -> bool:
        return all(part in self.ignored for part in parts) or "".join(parts) in self.ignored

    def alternatives(self, chunks: Sequence[Sequence[str]], number: int) -> list[Alternative]:
        """Return what stands for one chunk of a query in texts. "t shirt" may be written "tshirt" there."""
        parts, stem = chunks[number], self.analyser.stem
        whole, parts = "".join(parts)[:LONGEST_JOIN], parts[:MOST_PARTS]
        found: list[Alternative] = [(stem(whole),)]
        if len(parts) > 1:
            pairs = tuple(stem(one + two) for one, two in pairwise(parts))
            # The parts of a code must be neighbours; "dog-proof" also finds "proof against dogs".
            found.append(pairs if is_code(parts) else tuple(map(stem, parts)))
        else:
            neighbours = ((number - 1, number), (number, number + 1))
            found += [
                (stem(chunks[one][-1] + chunks[two][0]),)
                for one, two in neighbours
                if one >= 0 and two < len(chunks)
            ]
        if len(whole) >= SHORTEST_BEGINNING and (len(chunks) == 1 or is_letters_and_digits(whole)):
            found.append((BEGINNING + whole[:LONGEST_CODE],))
        return found

    def phrase(self, text: str) -> Wanted | None:
        """Return what a phrase asks for: each of its words next to the one before it. None if it is empty."""
        parts = [part for chunk in self.analyser.chunks(text) for part in chunk]
        parts = [part for part in parts if not self.analyser.is_stop_word(part)] or parts
        if not parts:
            return None
        stem = self.analyser.stem
        terms = tuple(stem(one + two) for one, two in pairwise(parts))
        return Wanted(text=" ".join(parts), alternatives=(terms or (stem(parts[0]),),), is_phrase=True)

    def exact(self, text: str) -> list[str]:
        """Return what may be the value of an exact field, normalised: the whole text, and each code in it."""
        typed = text.split()[:MOST_WORDS]
        codes = [
            value
            for value in map(normalise, typed)
            if len(value) >= SHORTEST_CODE and any(char.isdigit() for char in value)
        ]
        return list(dict.fromkeys(filter(None, (normalise(text), *codes))))


def ranked_terms(wanted: Iterable[Wanted]) -> dict[str, float]:
    """Return the terms of all alternatives with their weights in the ranking by words."""
    weights: dict[str, float] = {}
    for one in wanted:
        for number, alternative in enumerate(one.alternatives):
            for term in alternative:
                weights[term] = max(weights.get(term, 0.0), 1.0 if number == 0 else OTHER_SPELLING)
    return weights


def is_letters_and_digits(text: str) -> bool:
    """Return whether a text has a letter and a digit."""
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def synonyms(
    analyser: Analyser, declared: Mapping[str, Sequence[str]]
) -> dict[Alternative, list[Alternative]]:
    """Return the alternatives for each word that has synonyms, both as stems."""

    def terms(text: str) -> Alternative:
        return tuple(analyser.stem("".join(parts)) for parts in analyser.chunks(text))

    found: dict[Alternative, list[Alternative]] = {}
    for word, others in declared.items():
        group = list(dict.fromkeys(filter(None, map(terms, (word, *others)))))
        for one in group:
            found.setdefault(one, []).extend(other for other in group if other != one)
    return found
