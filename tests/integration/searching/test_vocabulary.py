"""When the words of a shop are read from the database."""

from __future__ import annotations

import threading

import pytest
from django.db import DatabaseError

from clip_search.documents.registry import registry
from clip_search.models import Word
from clip_search.searching.vocabulary import CHECK_SECONDS, Vocabularies, vocabulary
from clip_search.testing import reset

pytestmark = pytest.mark.django_db


class Clock:
    """A clock that a test puts forward."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def document():
    return registry.get("product")


@pytest.fixture
def vocabularies(clock, document) -> Vocabularies:
    """Return the vocabularies of a process that has read "mugs" and "red"."""
    Word.objects.replace(document, {"mugs": 3, "red": 2})
    found = Vocabularies(clock)
    assert len(found.get(document)) == 2
    return found


def test_the_words_of_other_documents_are_not_read(document):
    Word.objects.create(document="another", word="sofa", products=1)
    assert not vocabulary(document).knows("sofa")


def test_the_database_is_asked_once_in_ten_seconds(vocabularies, clock, document, django_assert_num_queries):
    Word.objects.add(document, ["teapot"])
    clock.seconds += CHECK_SECONDS - 1
    with django_assert_num_queries(0):
        assert not vocabularies.get(document).knows("teapot")
    clock.seconds += 1
    with django_assert_num_queries(2):
        assert vocabularies.get(document).knows("teapot")
        assert vocabularies.get(document).knows("mug")


def test_only_added_words_are_read_until_all_are_counted_again(vocabularies, clock, document):
    Word.objects.filter(word="mugs").update(products=9)
    Word.objects.add(document, ["teapot"])
    clock.seconds += CHECK_SECONDS
    assert vocabularies.get(document).products("mugs") == 3
    Word.objects.replace(document, {"sofa": 4})
    clock.seconds += CHECK_SECONDS
    found = vocabularies.get(document)
    assert found.knows("sofa") and not found.knows("mug") and not found.knows("teapot")


def test_what_is_unchanged_is_kept(vocabularies, clock, document):
    before = vocabularies.get(document)
    clock.seconds += CHECK_SECONDS
    assert vocabularies.get(document) is before


def test_words_stay_if_the_database_cannot_be_read(vocabularies, clock, document, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise DatabaseError("the table is locked")

    monkeypatch.setattr("clip_search.models.vocabulary.WordQuerySet.of", fail)
    clock.seconds += CHECK_SECONDS
    assert vocabularies.get(document).knows("mug")
    assert not Vocabularies(clock).get(document).knows("mug")
    assert "Cannot read the words of a shop document=product error=the table is locked" in caplog.text


def test_a_search_does_not_wait_while_another_one_reads_the_words(vocabularies, clock, document, monkeypatch):
    before, seen = vocabularies.get(document), []
    read = type(before).extended

    def meanwhile(self, counts):
        thread = threading.Thread(target=lambda: seen.append(vocabularies.get(document)))
        thread.start()
        thread.join(30)
        return read(self, counts)

    monkeypatch.setattr(type(before), "extended", meanwhile)
    Word.objects.add(document, ["teapot"])
    clock.seconds += CHECK_SECONDS
    assert vocabularies.get(document).knows("teapot")
    assert seen == [before]


def test_reset_forgets_the_words(document):
    assert not vocabulary(document).knows("mug")
    Word.objects.replace(document, {"mugs": 3})
    reset()
    assert vocabulary(document).knows("mug")
