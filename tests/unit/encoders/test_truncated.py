"""Which texts are longer than the model reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from clip_search.encoders.base import TEXT_LIMIT
from clip_search.encoders.clip import ClipEncoder

pytestmark = pytest.mark.model

TEXTS = {
    "": False,
    "mug": False,
    "x" * 75: False,  # in these models each letter is a token; two mark the start and the end
    "x" * 76: True,
    "x " * 75: False,
    "x " * 76: True,
    "é" * 37: False,  # of two bytes
    "é" * 38: True,
    "茶" * 25: False,  # of three
    "茶" * 26: True,
    "word " * 500: True,
    " " * TEXT_LIMIT + "x": True,
    "x \ud800 \0 👟": False,
}


@pytest.mark.parametrize("model", ["plain", "legacy", "current", "pooled"])
def test_a_text_is_truncated_from_the_first_token_that_is_not_read(model, make):
    encoder = make(model)

    encoder.embed_texts(list(TEXTS))

    assert encoder.truncated(list(TEXTS)) == list(TEXTS.values())
    assert encoder.truncated(list(TEXTS)) == list(TEXTS.values())  # also if the last call is forgotten
    assert encoder.truncated([]) == []


def test_what_is_cut_off_is_what_the_vector_does_not_show(make):
    encoder = make()
    for text, is_cut in [(text, is_cut) for text, is_cut in TEXTS.items() if text.isascii()]:
        changed = text[:-1] + "y" if text.strip() else text
        same = (encoder.embed_texts([text]) == encoder.embed_texts([changed])).all()
        assert same == (is_cut or changed == text), text[:99]


def test_the_text_model_has_its_own_limit(make):
    """128 tokens, of which two mark the start and the end."""
    encoder = make("plain", "text")
    texts = ["x " * 126, "x " * 127, "mug"]

    encoder.embed_texts(texts)

    assert encoder.truncated(texts) == [False, True, False]


def test_texts_that_do_not_fill_the_model_are_tokenized_once(make, monkeypatch):
    encoder = make()
    tokenizer = type(encoder._text_tower.tokenizer)
    calls, call = [], tokenizer.__call__

    def noted(self, *given, **how):
        calls.append(given)
        return call(self, *given, **how)

    texts = ["mug", "x" * 70, "word " * 500]
    encoder.embed_texts(texts)
    monkeypatch.setattr(
        tokenizer, "__call__", lambda self, *given, **how: calls.append(given) or call(self, *given, **how)
    )

    assert encoder.truncated(texts) == [False, False, True]
    assert calls == []
    assert encoder.truncated(["x" * 70]) == [False]
    assert len(calls) == 1


def test_an_encoder_that_changes_the_texts_is_asked_about_those_that_it_was_given(make):
    make()

    class Shouting(ClipEncoder):
        def embed_texts(self, texts):
            return super().embed_texts([f"{text}!" for text in texts])

    encoder, texts = Shouting(), ["x" * 75, "x" * 76]
    encoder.embed_texts(texts)
    assert encoder.truncated(texts) == [False, True]


def test_threads_get_the_answers_about_their_own_texts(make):
    encoder = make()
    encoder.embed_texts(["warm up"])

    def ask(number: int) -> bool:
        texts = ["x" * (60 + number), "x" * 76]
        encoder.embed_texts(texts)
        return encoder.truncated(texts) == [60 + number > 75, True]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(30)))
