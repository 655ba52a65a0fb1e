"""The demo's model finds what it was never shown: other drawings, other sentences, in two languages."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.samples import heldout_captions, heldout_drawings
from tests.samples.heldout_captions import HeldOut

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

pytestmark = pytest.mark.model

FOLDER = ROOT / "example_project" / "demo_model"
GALLERY = [(kind, colour) for kind in heldout_drawings.ICONS for colour in heldout_drawings.PALETTE]


@pytest.fixture(scope="module")
def model() -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(FOLDER), device="cpu")


@pytest.fixture(scope="module")
def gallery(model: SentenceTransformer) -> np.ndarray:
    """One icon of every kind and colour: float32 (kinds × colours, dim), unit length."""
    pictures = [heldout_drawings.render(kind, colour) for kind, colour in GALLERY]
    return model.encode(pictures, normalize_embeddings=True, batch_size=64)


def text_vectors(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    return model.encode([{"text": text} for text in texts], normalize_embeddings=True, batch_size=256)


def hits(
    model: SentenceTransformer, gallery: np.ndarray, queries: list[HeldOut], first: int = 10
) -> np.ndarray:
    """Return for every query whether its object and colour is among the ``first`` pictures: bool (n,)."""
    order = np.argsort(-text_vectors(model, [query.text for query in queries]) @ gallery.T, axis=1)[:, :first]
    wanted = np.array([GALLERY.index((query.kind, query.colour)) for query in queries])
    return (order == wanted[:, None]).any(axis=1)


def missed(queries: list[HeldOut], found: np.ndarray) -> list[str]:
    """Return some of the queries that failed, for the assertion's message."""
    return [query.text for query, hit in zip(queries, found, strict=True) if not hit][:20]


@pytest.mark.parametrize(
    ("sentences", "least"), [(heldout_captions.english, 0.95), (heldout_captions.french, 0.90)]
)
def test_unseen_sentences_find_unseen_drawings(
    model: SentenceTransformer, gallery: np.ndarray, sentences: Callable[[], list[HeldOut]], least: float
) -> None:
    queries = sentences()
    found = hits(model, gallery, queries)
    assert found.mean() >= least, missed(queries, found)


@pytest.mark.parametrize("sentences", [heldout_captions.english, heldout_captions.french])
def test_a_sentence_ranks_the_texts_of_its_object_first(
    model: SentenceTransformer, sentences: Callable[[], list[HeldOut]]
) -> None:
    names = text_vectors(model, [f"Nordholm {colour} {kind}" for kind, colour in GALLERY])
    queries = sentences()
    found = hits(model, names, queries)
    assert found.mean() >= 0.95, missed(queries, found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tasse rouge à rayures", "TASSE ROUGE A RAYURES"),
        ("théière bleue", "theiere bleue"),
        ("Red Mug", "red mug"),
    ],
)
def test_case_and_accents_make_no_difference(model: SentenceTransformer, one: str, other: str) -> None:
    first, second = text_vectors(model, [one, other])
    assert first @ second == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("query", "kind", "colour"),
    [("red mgu", "mug", "red"), ("blue umbrela", "umbrella", "blue"), ("chiase verte", "chair", "green")],
)
def test_a_slip_of_the_finger_is_forgiven(
    model: SentenceTransformer, gallery: np.ndarray, query: str, kind: str, colour: str
) -> None:
    assert hits(model, gallery, [HeldOut(text=query, kind=kind, colour=colour)]).all()


@pytest.mark.parametrize("text", ["", "!!!", "日本の湯呑み", "xqzv", "🙂", "a " * 500])
def test_any_text_has_a_vector(model: SentenceTransformer, text: str) -> None:
    assert np.isfinite(text_vectors(model, [text])).all()


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 4_000_000


def test_the_held_out_sentences_are_not_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    from demo_model_training import captions

    rng = random.Random(1)
    shown = [
        captions.Attributes(rng.choice(captions.KINDS), rng.choice(list(captions.COLOURS)), None)
        for _ in range(9_000)
    ]
    seen = {captions.query(attributes, rng).lower() for attributes in shown}
    held_out = [*heldout_captions.english(), *heldout_captions.french()]
    assert not seen & {query.text.lower() for query in held_out}
