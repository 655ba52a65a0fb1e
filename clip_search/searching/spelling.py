"""Read a query in another way if no product has its words: completed, corrected, or with a word left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ..documents.binding import BoundDocument
from ..documents.text import fold
from .parsing import ParsedText, Wanted, ranked_terms
from .vocabulary import Vocabulary, vocabulary

REMAINING: Final = 0.75
"""The least share of the words that must remain when unknown ones are left out.

With one of two left out, "red beaker" would find everything that is red."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read a query."""

    parsed: ParsedText
    corrected: str = ""
    """The query with its spelling corrected, or ""."""
    dropped: tuple[str, ...] = ()
    """The words that were left out because no product has them."""


def other_readings(
    document: BoundDocument, parsed: ParsedText, is_word: Callable[[str], bool]
) -> Iterator[Reading]:
    """Yield the ways to read a query if no product has it as it was typed, in the order to try them.

    The last word may be the beginning of a word, and a word that no product has is replaced by
    the most similar one of the shop's vocabulary, or left out. What `is_word()` knows as a word of a language
    is not replaced: in a shop that says no colours, "white" does not mean "while".
    """
    if not parsed.wanted:
        return
    words = vocabulary(document)
    unknown = [one for one in parsed.wanted if not _is_known(one, words)]
    completed = [_completed(document, one, words) for one in parsed.wanted]
    if any(new is not old for new, old in zip(completed, parsed.wanted, strict=True)):
        left = [one for one in completed if one in unknown]
        if not left:
            yield Reading(parsed=_with(parsed, completed))
    if unknown:
        yield from _corrected(document, parsed, completed, unknown, words, is_word)


def _corrected(
    document: BoundDocument,
    parsed: ParsedText,
    completed: list[Wanted],
    unknown: list[Wanted],
    words: Vocabulary,
    is_word: Callable[[str], bool],
) -> Iterator[Reading]:
    """Yield the query with its unknown words corrected, completed or left out, unless too few remain."""
    kept, dropped, corrections = [], [], {}
    typed_as = {fold(word): word.lower() for word in re.findall(r"\w+", parsed.meaning)}
    for typed, one in zip(parsed.wanted, completed, strict=True):
        if typed not in unknown or one is not typed:
            kept.append(one)
            continue
        may_be_wrong = one.is_word and not is_word(typed_as.get(one.text, one.text))
        similar = words.corrections(one.text, limit=1) if may_be_wrong else []
        if similar:
            corrections[one.text] = similar[0]
            terms = (document.analyser.stem(similar[0]),)
            kept.append(replace(one, text=similar[0], alternatives=(terms,)))
        else:
            dropped.append(one.text)
            if len(dropped) > (1 - REMAINING) * len(parsed.wanted):
                return  # at once, because to look for a correction takes up to 20 ms
    if kept and (corrections or dropped):
        new = _with(parsed, kept)
        corrected = _respelled(parsed.meaning, corrections) if corrections else ""
        yield Reading(
            parsed=replace(new, meaning=corrected or new.meaning), corrected=corrected, dropped=tuple(dropped)
        )


def _is_known(wanted: Wanted, words: Vocabulary) -> bool:
    """Return whether the shop's texts have the word in one of its spellings. Phrases count as known."""
    if " " in wanted.text:
        return True
    return any(all(words.knows(term) for term in terms) for terms in wanted.alternatives)


def _completed(document: BoundDocument, wanted: Wanted, words: Vocabulary) -> Wanted:
    """Return the last word of a query as the beginning of words; other words unchanged."""
    if not wanted.is_last:
        return wanted
    stem = document.analyser.stem
    found = dict.fromkeys((stem(word),) for word in words.completions(wanted.text))
    if not found.keys() - set(wanted.alternatives):
        return wanted
    return replace(wanted, alternatives=tuple(dict.fromkeys((*wanted.alternatives, *found))))


def _with(parsed: ParsedText, wanted: list[Wanted]) -> ParsedText:
    return replace(parsed, wanted=wanted, ranked=ranked_terms(wanted))


def _respelled(text: str, corrections: Mapping[str, str]) -> str:
    """Return the text with words replaced by their corrections."""
    return re.sub(r"\w+", lambda match: corrections.get(fold(match[0]), match[0]), text)
