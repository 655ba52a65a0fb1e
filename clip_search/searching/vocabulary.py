"""The words of a shop in memory: which ones it has, how one may go on, and what a misspelt one may mean."""

from __future__ import annotations

import heapq
import logging
import re
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from django.db import DatabaseError
from rapidfuzz import process
from rapidfuzz.distance import OSA

from ..documents.binding import BoundDocument
from ..exceptions import in_one_line
from ..models import Vocabulary as Version
from ..models import Word

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 10.0
"""How long a process uses a vocabulary before it asks the database for new words."""
SHORTEST_BEGINNING: Final = 2
SHORTEST_CORRECTED: Final = 4
TWO_EDITS_FROM: Final = 8
"""Words of at least this many letters may differ by two edits from the correct word, shorter ones by one."""
_DIGIT = re.compile(r"\d")


class Vocabulary:
    """The words of a document's products, as they are written there, folded. It does not change.

    It has no stop words, no words of one or two letters, and none that start with a digit. Joined parts, such
    as "xr4200" of "XR-4200", are words too. It may lag behind the index, so use it for spelling only.
    """

    def __init__(
        self, counts: Mapping[str, int], stem: Callable[[str], str], stems: Iterable[str] | None = None
    ) -> None:
        """Keep {word: number of products}. `stems` may give the stems of these words, if they are known."""
        self._stem = stem
        self._words = sorted(counts)
        self._products = array("L", (counts[word] for word in self._words))
        self._stems = frozenset(map(stem, self._words) if stems is None else stems)
        self._by_length: dict[int, list[str]] = {}
        for word in self._words:
            if len(word) >= SHORTEST_CORRECTED - 1 and not _DIGIT.search(word):
                self._by_length.setdefault(len(word), []).append(word)

    def __len__(self) -> int:
        return len(self._words)

    def extended(self, counts: Mapping[str, int]) -> Vocabulary:
        """Return a vocabulary that has these words too."""
        merged = {**dict(zip(self._words, self._products, strict=True)), **counts}
        return Vocabulary(merged, self._stem, self._stems.union(map(self._stem, counts)))

    def knows(self, stem: str) -> bool:
        """Return whether a word of the shop has this stem."""
        return stem in self._stems

    def products(self, word: str) -> int:
        """Return how many products had this word at the last count, or 0 if the shop does not have it."""
        at = bisect_left(self._words, word)
        return self._products[at] if at < len(self._words) and self._words[at] == word else 0

    def completions(self, beginning: str, limit: int = 20) -> list[str]:
        """Return words that begin with these letters, the most frequent first; of equal ones, the shortest.

        The beginning itself is among them if it is a word. One letter alone is completed by nothing.
        """
        if len(beginning) < SHORTEST_BEGINNING:
            return []
        start = bisect_left(self._words, beginning)
        end = bisect_left(self._words, beginning + "\U0010ffff", lo=start)
        best = heapq.nsmallest(limit, zip(self._by_frequency(start, end), range(start, end), strict=True))
        return [self._words[at] for _, at in best]

    def _by_frequency(self, start: int, end: int) -> Iterable[tuple[int, int]]:
        return ((-self._products[at], len(self._words[at])) for at in range(start, end))

    def corrections(self, word: str, limit: int = 5) -> list[str]:
        """Return the other words that a misspelt word may mean, the most likely first.

        They differ by one edit, or by up to two from words of eight letters or more. An edit inserts, deletes
        or replaces a letter, or swaps two neighbours. A wrong first letter counts as two edits: "tent" is not
        "went". Words of fewer than four letters or with a digit are not corrected.

        Fewer edits come first. With equally many, words of several products come before those of one, and
        frequent mistakes (see `_is_slip()`) before others; then the words of the most products come first.
        """
        if len(word) < SHORTEST_CORRECTED or _DIGIT.search(word):
            return []
        allowed = 2 if len(word) >= TWO_EDITS_FROM else 1
        ordered = []
        for length in range(len(word) - allowed, len(word) + allowed + 1):
            for known, distance, _ in process.extract(
                word, self._by_length.get(length, ()), scorer=OSA.distance, score_cutoff=allowed, limit=None
            ):
                edits = distance + (known[0] != word[0] and known[:2] != word[1::-1])
                if 0 < edits <= allowed:
                    products = self.products(known)
                    ordered.append((edits, products < 2, not _is_slip(word, known), -products, known))
        return [known for *_, known in heapq.nsmallest(limit, ordered)]


def _is_slip(word: str, known: str) -> bool:
    """Return whether a letter of `known` is left out or doubled, or all its letters are there, but swapped.

    A given slip is about ten times as likely as a given wrong letter, of which there are many: "sirt" is
    "shirt" rather than "sort" (Kernighan, Church & Gale, "A spelling correction program based on a noisy
    channel model", COLING 1990).
    """
    if len(word) == len(known) + 1:
        doubled = (at for at in range(1, len(word)) if word[at] == word[at - 1])
        return any(word[:at] + word[at + 1 :] == known for at in doubled)
    return len(word) < len(known) or sorted(word) == sorted(known)


class Vocabularies:
    """The vocabularies of all documents in this process. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loaders: dict[str, _Loader] = {}

    def get(self, document: BoundDocument) -> Vocabulary:
        """Return the words of a document, at most `CHECK_SECONDS` old.

        If the database cannot be read, this is logged, and the words that are there already are returned.
        """
        loader = self._loaders.setdefault(document.name, _Loader(document))
        return loader.get(self._clock())

    def reset(self) -> None:
        """Forget all words, so that the next search reads them again."""
        self._loaders.clear()


class _Loader:
    """Reads the words of one document: all of them if they were counted again, otherwise the added ones."""

    def __init__(self, document: BoundDocument) -> None:
        self._document = document
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._version = -1
        self._last_id = 0
        self._next_check = 0.0

    def get(self, now: float) -> Vocabulary:
        loaded = self._vocabulary
        if loaded is not None and now < self._next_check:
            return loaded
        if not self._lock.acquire(blocking=loaded is None):
            return loaded  # type: ignore[return-value]  # another thread is reading: go on with the old words
        try:
            if self._vocabulary is None or now >= self._next_check:
                self._next_check = now + CHECK_SECONDS
                self._vocabulary = self._read(self._vocabulary)
            return self._vocabulary
        finally:
            self._lock.release()

    def _read(self, loaded: Vocabulary | None) -> Vocabulary:
        stem = self._document.analyser.stem
        try:
            # The version is read first: if words are counted again meanwhile, the next check reads all.
            versions = Version.objects.using(self._document.using).filter(document=self._document.name)
            version = versions.values_list("version", flat=True).first() or 0
            is_new = loaded is None or version != self._version
            words = Word.objects.of(self._document).filter(pk__gt=0 if is_new else self._last_id)
            rows = list(words.values_list("pk", "word", "products"))
        except DatabaseError as error:
            logger.warning(
                "Cannot read the words of a shop document=%s error=%s",
                self._document.name,
                in_one_line(error),
            )
            return loaded or Vocabulary({}, stem)
        counts = {word: products for _, word, products in rows}
        self._version, self._last_id = version, max((pk for pk, _, _ in rows), default=self._last_id)
        if loaded is None or is_new:
            return Vocabulary(counts, stem)
        return loaded.extended(counts) if counts else loaded


_vocabularies = Vocabularies()


def vocabulary(document: BoundDocument) -> Vocabulary:
    """Return the words of a document's products, which this process keeps in memory."""
    return _vocabularies.get(document)


def reset_vocabularies() -> None:
    """Forget the words of all shops; for tests."""
    _vocabularies.reset()
