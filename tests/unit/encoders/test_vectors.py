"""The vectors of texts and images."""

from __future__ import annotations

import base64
import http.server
import io
import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from clip_search import images
from clip_search.encoders.inter_op import InterOpPool
from tests.samples.clip_models import DIMENSION, IMAGE_SIZE

from .reference import LAYOUTS, TEXTS, cosines, reference, shrunk

pytestmark = pytest.mark.model

# Vectors.


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_are_embedded_as_sentence_transformers_does_it(layout, make, models, pngs):
    found = make(layout).embed_images(shrunk(pngs))

    wanted = reference(models[layout], [Image.open(io.BytesIO(data)) for data in pngs])
    assert cosines(found, wanted).min() > 0.9999


@pytest.mark.parametrize("layout", LAYOUTS)
def test_texts_are_embedded_as_sentence_transformers_does_it(layout, make, models):
    texts = [text for text in TEXTS if text.isprintable()]

    wanted = reference(models[layout], [{"text": text} for text in texts])
    assert cosines(make(layout).embed_texts(texts), wanted).min() > 0.9999


# Less work.


def test_texts_go_through_the_text_model_and_images_through_the_model(make, models, pngs):
    encoder = make("legacy", "text")

    texts = reference(models["text"], [{"text": "a red mug"}])
    pictures = reference(models["legacy"], [Image.open(io.BytesIO(pngs[0]))])
    assert cosines(encoder.embed_texts(["a red mug"]), texts).min() > 0.9999
    assert cosines(encoder.embed_images(shrunk(pngs[:1])), pictures).min() > 0.9999


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_vectors_are_float32_of_unit_length_and_contiguous(precision, make, pngs):
    encoder = make(precision=precision)

    for vectors in (encoder.embed_texts(TEXTS), encoder.embed_images(shrunk(pngs))):
        assert (vectors.shape, vectors.dtype) == ((5, DIMENSION), np.float32)
        assert vectors.flags.c_contiguous
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_nothing_gives_an_empty_matrix(make):
    encoder = make()

    for vectors in (encoder.embed_texts([]), encoder.embed_images([])):
        assert (vectors.shape, vectors.dtype) == ((0, DIMENSION), np.float32)


@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_lower_precision_gives_nearly_the_same_vectors(precision, make, pngs):
    full, lower = make(), make(precision=precision)

    assert cosines(full.embed_texts(TEXTS), lower.embed_texts(TEXTS)).mean() > 0.995
    assert cosines(full.embed_images(shrunk(pngs)), lower.embed_images(shrunk(pngs))).mean() > 0.995


def test_each_vector_belongs_to_its_input_whatever_the_batches(make, pngs):
    one_by_one, batched = make(BATCH_SIZE=1), make(BATCH_SIZE=2)
    pixels = shrunk(pngs)

    assert cosines(one_by_one.embed_images(pixels), batched.embed_images(pixels)).min() > 0.9999
    assert cosines(one_by_one.embed_texts(TEXTS), batched.embed_texts(TEXTS)).min() > 0.9999
    alone = np.concatenate([batched.embed_texts([text]) for text in TEXTS])
    assert cosines(alone, batched.embed_texts(TEXTS)).min() > 0.9999


def test_different_inputs_get_different_vectors(make, pngs):
    encoder = make()

    texts = encoder.embed_texts(["a red mug", "a blue shoe"])
    assert cosines(texts[:1], texts[1:]).max() < 0.9999
    pictures = encoder.embed_images(shrunk(pngs)[:2])
    assert cosines(pictures[:1], pictures[1:]).max() < 0.9999


def test_drafted_jpegs_get_nearly_the_vectors_of_whole_ones(make, monkeypatch):
    chance = np.random.default_rng(0)
    jpegs = []
    for _ in range(8):
        file = io.BytesIO()
        blobs = Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        blobs.resize((900, 700), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        jpegs.append(file.getvalue())
    encoder = make()

    drafted = encoder.embed_images(shrunk(jpegs))
    monkeypatch.setattr(images, "DRAFT_FACTOR", 10_000)
    whole = encoder.embed_images(shrunk(jpegs))

    assert (drafted != whole).any()
    assert cosines(drafted, whole).mean() > 0.99


def test_a_model_with_an_unusual_processor_prepares_the_pixels_itself(make, models, tmp_path, pngs):
    folder = tmp_path / "unusual"
    shutil.copytree(models["plain"], folder)
    processor = folder / "preprocessor_config.json"
    processor.write_text(processor.read_text().replace('"do_center_crop": true', '"do_center_crop": false'))
    encoder = make(folder)

    square = [pngs[2]]
    assert not encoder._image_tower.takes_pixels
    wanted = reference(folder, [Image.open(io.BytesIO(data)) for data in square])
    assert cosines(encoder.embed_images(shrunk(square)), wanted).min() > 0.9999


def test_facts_of_the_model(make):
    encoder = make("legacy", "text")

    assert (encoder.dimension, encoder.image_size) == (DIMENSION, IMAGE_SIZE)
    assert encoder.batch_size == 32 * InterOpPool().count
    assert make(BATCH_SIZE=7).batch_size == 7 * InterOpPool().count


# What a text is.


@pytest.fixture
def listener():
    """Return the address of an image on a local server, and the list of requests that reach it."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/secret.jpg", requests
        server.shutdown()
        thread.join()


def test_a_text_is_never_fetched_opened_or_decoded(make, models, listener, tmp_path, pngs):
    address, requests = listener
    file = tmp_path / "secret.png"
    file.write_bytes(pngs[0])
    texts = [address, str(file), "data:image/png;base64," + base64.b64encode(pngs[0]).decode()]
    encoder = make()

    found = encoder.embed_texts(texts)

    assert requests == []
    file.unlink()
    assert (encoder.embed_texts(texts) == found).all()  # the file's content played no part
    picture = encoder.embed_images(shrunk(pngs[:1]))
    assert np.abs(cosines(found[1:], picture)).max() < 0.999


def test_the_end_of_a_very_long_text_is_not_looked_at(make):
    encoder = make()
    long = "word " * 3_000

    assert (encoder.embed_texts([long + "a"]) == encoder.embed_texts([long + "b"])).all()


def test_many_threads_may_embed_at_once(make):
    encoder = make()
    texts = [f"{'very ' * (number % 9)}red mug {number}" for number in range(48)]
    alone = encoder.embed_texts(texts)

    with ThreadPoolExecutor(8) as threads:
        together = np.concatenate(list(threads.map(lambda text: encoder.embed_texts([text]), texts)))

    assert cosines(alone, together).min() > 0.9999


def test_many_threads_load_the_model_once(make, caplog):
    encoder = make()
    caplog.set_level(logging.INFO, "clip_search.encoders.clip")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: encoder.embed_texts(["mug"]), range(6)))

    (loaded,) = [
        record.getMessage() for record in caplog.records if record.name == "clip_search.encoders.clip"
    ]
    assert "device=cpu precision=float32 seconds=" in loaded
