"""The lists of stop words and fillers."""

from __future__ import annotations

import pytest

from clip_search.documents.stop_words import FILLERS, STOP_WORDS
from clip_search.documents.text import fold
from clip_search.documents.words import ALGORITHMS, analyser


@pytest.mark.parametrize("lists", [STOP_WORDS, FILLERS])
def test_words_are_written_as_they_are_compared(lists):
    for language, words in lists.items():
        assert language in ALGORITHMS
        for word in words:
            assert fold(word) == word
            assert list(analyser(language).chunks(word)) == [[word]]


def test_words_that_describe_products_are_no_stop_words():
    english, french = STOP_WORDS["en"] | FILLERS["en"], STOP_WORDS["fr"] | FILLERS["fr"]
    assert not english & {"red", "big", "long", "new", "one", "two", "off", "up", "down", "light", "man"}
    assert not french & {"rouge", "grand", "long", "neuf", "deux", "petit", "clair", "eau", "the", "bois"}


def test_fillers_and_stop_words_are_told_apart():
    english = analyser("en")
    assert english.is_stop_word("the")
    assert not english.is_stop_word("looking")
    assert "looking" in english.fillers
    assert not analyser("ja").stop_words
