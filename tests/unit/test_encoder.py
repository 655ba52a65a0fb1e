from __future__ import annotations

import base64
import http.server
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_search import images
from clip_search.encoders import get_encoder
from clip_search.encoders.clip import ClipEncoder
from clip_search.encoders.inter_op import InterOpPool, share_cores
from clip_search.encoders.placement import cpu_has_bfloat16
from clip_search.exceptions import ModelUnavailable
from tests.conftest import ROOT
from tests.samples import clip_models
from tests.samples.clip_models import DIMENSION, IMAGE_SIZE

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")
acceleration = pytest.importorskip("clip_search.encoders.acceleration")

LAYOUTS = ["plain", "legacy", "current", "pooled"]
TEXTS = ["a red mug", "", "Tasse émaillée, rouge – 0,3 l", "x" * 500, "blue shoe \ud800 \0 👟"]


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    plain = clip_models.save_plain(folder / "plain")
    return {
        "plain": plain,
        "legacy": clip_models.save_legacy(folder / "legacy"),
        "current": clip_models.save_current(folder / "current", plain),
        "pooled": clip_models.save_pooled(folder / "pooled", plain),
        "gelu": clip_models.save_plain(folder / "gelu", hidden_act="gelu"),
        "text": clip_models.save_text(folder / "text"),
        "narrow text": clip_models.save_text(folder / "narrow", dimension=16),
    }


@pytest.fixture(scope="session")
def pngs() -> list[bytes]:
    chance = np.random.default_rng(5)
    found = []
    for width, height in [(90, 60), (60, 91), (48, 48), (300, 200), (30, 20)]:
        file = io.BytesIO()
        Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, "PNG")
        found.append(file.getvalue())
    return found


@pytest.fixture
def make(models, settings):
    """Return an encoder of the named model."""

    def encoder(model="plain", text_model=None, precision="float32", **options) -> ClipEncoder:
        settings.CLIP_SEARCH = {
            "MODEL": str(models.get(model, model)),
            "TEXT_MODEL": str(models.get(text_model, text_model)) if text_model else None,
            "PRECISION": precision,
            "DEVICE": "cpu",
            **options,
        }
        return ClipEncoder()

    return encoder


def reference(folder: Path, inputs) -> np.ndarray:
    """What sentence-transformers itself makes of the inputs, in float32."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(inputs, normalize_embeddings=True, show_progress_bar=False)


def shrunk(pngs: list[bytes]) -> list[np.ndarray]:
    return [images.shrink(data, IMAGE_SIZE) for data in pngs]


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(axis=1)


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


@pytest.mark.parametrize(("model", "activation"), [("plain", "SiLU"), ("gelu", "GELUActivation")])
def test_a_tower_does_less_and_gives_what_it_gave(model, activation, make, models, pngs):
    encoder = make(model)

    texts, pictures = encoder.embed_texts(["a red mug"]), encoder.embed_images(shrunk(pngs))

    wanted = reference(models[model], [Image.open(io.BytesIO(data)) for data in pngs])
    assert pictures == pytest.approx(wanted, abs=1e-5)
    assert texts == pytest.approx(reference(models[model], [{"text": "a red mug"}]), abs=1e-5)
    clip = encoder._image_tower.model[0].auto_model
    mlps = [module for module in clip.modules() if isinstance(module, acceleration.CLIPMLP)]
    assert {type(mlp.activation_fn).__name__ for mlp in mlps} == {activation}
    assert tokens_of(clip.vision_model, lambda: encoder.embed_images(shrunk(pngs))) == {1}  # of ten


@pytest.mark.parametrize("end", ["as configured long ago", "as it is"])
def test_of_the_last_layer_a_text_needs_its_end_alone(end, make, models, tmp_path):
    """Wherever that is: the model takes the first mark of an end, even one that is written in the text."""
    folder = tmp_path / "model"
    shutil.copytree(models["plain"], folder)
    if end == "as it is":
        from transformers import AutoTokenizer

        (mark,) = AutoTokenizer.from_pretrained(folder)("<|endoftext|>", add_special_tokens=False)[
            "input_ids"
        ]
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["eos_token_id"] = mark
        (folder / "config.json").write_text(json.dumps(config))
    texts = ["a red mug", "", "mug " * 200, "a <|endoftext|> b", "Tasse émaillée, rouge – 0,3 l"]
    encoder = make(folder)

    found = encoder.embed_texts(texts)

    assert found == pytest.approx(reference(folder, [{"text": text} for text in texts]), abs=1e-5)
    tower = encoder._text_tower[0].auto_model.text_model
    assert tokens_of(tower, lambda: encoder.embed_texts(texts)) == {1}


def tokens_of(tower, work) -> set[int]:
    """Return how many tokens of each row the last layer's MLP is given."""
    tokens = []
    *_, mlp = (module for module in tower.modules() if isinstance(module, acceleration.CLIPMLP))
    handle = mlp.register_forward_hook(lambda _mlp, given, _found: tokens.append(given[0].shape[1]))
    work()
    handle.remove()
    return set(tokens)


@pytest.mark.parametrize("size", [(48, 48), (50, 35)])
def test_patches_are_what_the_convolution_makes_of_the_normalized_pixels(size):
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 8, kernel_size=16, stride=16, bias=False)
    scale, shift = torch.rand(3, 1, 1) / 60, -torch.rand(3, 1, 1)
    pixels = torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)

    with torch.no_grad():
        found = acceleration.Patches(convolution, scale, shift)(pixels.float())

        wanted = convolution(pixels * scale + shift)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-4


def test_packed_weights_give_the_same_vectors(make, pngs):
    """In float32 too, where they gain nothing, and can be compared on every CPU."""
    plain, packed = make(), make()
    for tower in (packed._text_tower, packed._image_tower.model):
        acceleration.prepack(tower[0])

    assert packed.embed_texts(TEXTS) == pytest.approx(plain.embed_texts(TEXTS), abs=1e-5)
    pictures = packed.embed_images(shrunk(pngs))
    assert pictures == pytest.approx(plain.embed_images(shrunk(pngs)), abs=1e-5)
    for tower in (packed._text_tower, packed._image_tower.model):
        layers = [m for m in tower.modules() if isinstance(m, torch.nn.Linear | acceleration.PackedLinear)]
        assert layers
        assert {type(layer) for layer in layers} == {acceleration.PackedLinear}


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU is no faster in bfloat16")
@pytest.mark.parametrize(("precision", "is_packed"), [("auto", True), ("bfloat16", True), ("float32", False)])
def test_weights_are_packed_where_bfloat16_is_a_gain(precision, is_packed, make):
    tower = make(precision=precision)._text_tower

    assert any(isinstance(part, acceleration.PackedLinear) for part in tower.modules()) is is_packed


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


# Towers.


def parameters(tower) -> set[str]:
    return {name.split(".")[2] for name, _ in tower.named_parameters()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_embedding_texts_keeps_no_vision_tower(layout, make):
    encoder = make(layout)

    encoder.warm_up(images=False)

    assert "_image_tower" not in vars(encoder)
    assert parameters(encoder._text_tower) == {"text_model", "text_projection", "logit_scale"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_warming_up_loads_each_tower_once_and_whole(layout, make):
    encoder = make(layout)

    encoder.warm_up()

    assert "_image_tower" in vars(encoder)
    assert parameters(encoder._image_tower.model) == {"vision_model", "visual_projection", "logit_scale"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_precision_is_what_was_asked_for_whatever_the_files_were_saved_in(
    precision, make, models, tmp_path
):
    from transformers import CLIPModel

    folder = tmp_path / "half"
    shutil.copytree(models["plain"], folder)
    CLIPModel.from_pretrained(folder).half().save_pretrained(folder)

    encoder = make(folder, precision=precision)

    assert str(encoder._text_tower.dtype) == f"torch.{precision}"
    assert str(encoder._image_tower.model.dtype) == f"torch.{precision}"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx2 avx512f amx_bf16", "bfloat16"), ("avx512_bf16", "bfloat16"), ("avx2 avx512f", "float32")],
)
def test_automatic_precision_on_a_cpu_follows_what_the_cpu_can(flags, expected, make, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda self: f"processor : 0\nflags : fpu {flags} sse\n")
    cpu_has_bfloat16.cache_clear()
    try:
        assert str(make(precision="auto")._placement[1]) == f"torch.{expected}"
    finally:
        cpu_has_bfloat16.cache_clear()


def test_without_cpuinfo_precision_is_float32(make, monkeypatch):
    def missing(self):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    cpu_has_bfloat16.cache_clear()
    try:
        assert str(make(precision="auto")._placement[1]) == "torch.float32"
    finally:
        cpu_has_bfloat16.cache_clear()


def test_on_cuda_it_is_float16_in_large_batches(make, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    encoder = make(precision="auto", DEVICE="auto")

    assert [str(part) for part in encoder._placement] == ["cuda", "torch.float16"]
    assert encoder.batch_size == 128


# Cores.


@pytest.fixture
def eight_cores(monkeypatch):
    """Let torch have eight cores, and give it back what it had."""
    import torch

    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("clip_search.encoders.inter_op.cores", lambda: 8)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("processes", "threads"), [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_processes_share_the_cores(eight_cores, processes, threads):
    import torch

    share_cores(processes)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == threads


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_environment_says_how_many_threads(eight_cores, monkeypatch, name):
    import torch

    monkeypatch.setenv(name, "7")
    before = torch.get_num_threads()
    share_cores(3)
    assert torch.get_num_threads() == before


def test_each_thread_of_the_pool_has_its_part_of_the_cores(eight_cores):
    import torch

    share_cores(1)
    pool = InterOpPool()
    assert pool.map(lambda part: (part, threading.get_ident()), [1]) == [(1, threading.get_ident())]
    everyone = threading.Barrier(4)  # broken unless four are at work at once

    def work(part: int) -> tuple[int, int]:
        everyone.wait(10)
        return part, torch.get_num_threads()

    assert pool.map(work, range(8)) == [(part, 2) for part in range(8)]
    assert torch.get_num_threads() == 8
    share_cores(4)
    everyone = threading.Barrier(2)
    assert pool.map(work, range(8)) == [(part, 1) for part in range(8)]
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda part: 1 // part, [1, 0])


@pytest.mark.parametrize(("threads", "count"), [(1, 1), (2, 2), (3, 3), (5, 1), (6, 3), (7, 1), (16, 4)])
def test_the_pool_leaves_no_core_idle(eight_cores, threads, count):
    import torch

    torch.set_num_threads(threads)
    assert InterOpPool().count == count


def test_a_forked_process_has_a_pool_of_its_own(eight_cores):
    share_cores(4)
    pool = InterOpPool()
    assert pool.map(abs, [-1, -2]) == [1, 2]
    child = os.fork()
    if not child:
        os._exit(0 if pool.map(abs, [-3, -4]) == [3, 4] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_batches_at_once_give_what_one_after_the_other_gives(make, eight_cores):
    texts = [f"{'very ' * (number % 7)}red mug {number}" for number in range(50)]
    pictures = [np.full((IMAGE_SIZE, IMAGE_SIZE, 3), number, np.uint8) for number in range(50)]
    share_cores(8)
    one = make(BATCH_SIZE=4)
    expected = one.embed_texts(texts), one.embed_images(pictures)
    share_cores(1)
    for _ in range(5):
        assert np.allclose(one.embed_texts(texts), expected[0], atol=1e-6)
        assert np.allclose(one.embed_images(pictures), expected[1], atol=1e-6)


@pytest.mark.parametrize(
    ("count", "processes", "sizes"),
    [
        (20, 1, [20]),  # all threads together at so few
        (64, 1, [16] * 4),
        (200, 1, [25] * 8),  # two for each of four threads
        (300, 1, [30] * 10),  # more than 32 at once gain nothing
        (64, 8, [32] * 2),  # one thread
    ],
)
def test_each_thread_of_the_pool_gets_two_parts_of_equal_size(count, processes, sizes, make, eight_cores):
    share_cores(processes)
    found: list[int] = []

    def embed(part):
        found.append(len(part))
        return part

    assert (make()._in_batches(embed, np.arange(count)) == np.arange(count)).all()
    assert found == sizes


WAITING = """
import os, sys, django
django.setup()
from clip_search.encoders.inter_op import share_cores
from clip_search.encoders.clip import ClipEncoder
ClipEncoder()
share_cores(3)
print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("environment", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")]
)
def test_threads_wait_without_spinning_unless_told_otherwise(start_process, monkeypatch, environment, policy):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    process = start_process("-W", "ignore", "-c", WAITING, **environment)
    output, _ = process.communicate(timeout=60)
    assert output.split() == [policy, "False"]


# Fingerprints.


def test_the_fingerprint_is_of_the_files_not_of_their_place(make, models, tmp_path):
    shutil.copytree(models["legacy"], tmp_path / "copy")

    fingerprint = make("legacy").fingerprint
    assert make(tmp_path / "copy").fingerprint == fingerprint
    assert len(fingerprint) == 32


def test_the_fingerprint_ignores_precision_and_what_is_no_part_of_the_model(make, models, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(models["plain"], folder)
    (folder / "README.md").write_text("Read me")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "state.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not read where there are safetensors")

    assert make(folder, precision="bfloat16").fingerprint == make("plain").fingerprint


@pytest.mark.parametrize(
    "file", ["model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"]
)
def test_the_fingerprint_follows_every_file_of_the_model(file, make, models, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(models["plain"], folder)
    with (folder / file).open("ab") as changed:
        changed.write(b" ")

    assert make(folder).fingerprint != make("plain").fingerprint


def test_the_fingerprint_covers_the_text_model_and_preprocessing(make, monkeypatch):
    plain, with_text = make("plain").fingerprint, make("plain", "text").fingerprint
    monkeypatch.setattr("clip_search.encoders.clip.PREPROCESSING", "2")

    assert len({plain, with_text, make("plain").fingerprint, make("text").fingerprint}) == 4


def test_files_are_hashed_once(make, models, monkeypatch):
    fingerprint = make("legacy").fingerprint
    monkeypatch.setattr("hashlib.file_digest", lambda *args: pytest.fail("hashed again"))

    assert make("legacy").fingerprint == fingerprint


def test_files_that_change_under_a_running_process_are_not_loaded(make, models, tmp_path, pngs):
    folder = tmp_path / "copy"
    shutil.copytree(models["plain"], folder)
    encoder = make(folder)
    encoder.embed_texts(["mug"])
    clip_models.save_plain(folder, seed=9)

    with pytest.raises(ModelUnavailable, match=r"have changed\. Restart this process"):
        encoder.embed_images(shrunk(pngs))
    encoder.embed_texts(["mug"])


def test_neither_importing_nor_the_fingerprint_needs_torch(models):
    code = (
        "import sys, clip_search.encoders as e, clip_search.encoders.clip; from django.conf import settings;"
        f"settings.configure(CLIP_SEARCH={{'MODEL': {str(models['legacy'])!r}}});"
        "assert len(e.get_encoder().fingerprint) == 32;"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


# Names on the hub.


@pytest.fixture
def hub(monkeypatch):
    """Replace the hub: `found` maps whether only local files may be used to a folder or an error."""
    asked: list[tuple[str, bool]] = []
    found: dict[bool, Path | Exception] = {}

    def snapshot_download(name, *, local_files_only=False, **options):
        asked.append((name, local_files_only))
        answer = found[local_files_only]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return found, asked


def test_a_name_is_found_in_the_local_cache_without_the_network(make, models, hub):
    found, asked = hub
    found[True] = models["legacy"]
    encoder = make("clip-ViT-B-32")

    assert encoder.fingerprint == make("legacy").fingerprint
    assert encoder.embed_texts(["mug"]).shape == (1, DIMENSION)
    assert asked == [("sentence-transformers/clip-ViT-B-32", True)]


@pytest.mark.parametrize("cached", ["nothing", "an interrupted download"])
def test_a_name_that_is_not_whole_here_is_downloaded(cached, make, models, hub, tmp_path):
    found, asked = hub
    (tmp_path / "config.json").write_text("{}")
    found |= {True: FileNotFoundError() if cached == "nothing" else tmp_path, False: models["plain"]}

    assert make("some/clip").fingerprint == make("plain").fingerprint
    assert asked == [("some/clip", True), ("some/clip", False)]


def test_without_network_a_partial_cache_is_tried(make, models, hub):
    found, _ = hub
    error = FileNotFoundError("incomplete")
    error.snapshot_path = str(models["plain"])
    found |= {True: FileNotFoundError(), False: error}

    assert make("some/clip").embed_texts(["mug"]).shape == (1, DIMENSION)


def test_a_name_that_cannot_be_had_says_so(make, hub):
    found, _ = hub
    found |= {True: FileNotFoundError(), False: ConnectionError("No route to host.\nA long story")}

    with pytest.raises(ModelUnavailable, match=r"'some/clip' cannot be loaded: No route to host\. Set it to"):
        assert make("some/clip").fingerprint


# What is wrong.

USES = [
    lambda encoder: encoder.fingerprint,
    lambda encoder: encoder.image_size,
    lambda encoder: encoder.dimension,
    lambda encoder: encoder.embed_texts(["mug"]),
    lambda encoder: encoder.embed_images([np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)]),
]


@pytest.mark.parametrize("use", USES)
def test_a_missing_folder_names_the_setting(use, make):
    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = \'/no/clip\': there is no such'):
        use(make("/no/clip"))


@pytest.mark.parametrize("use", USES[1:])
def test_a_folder_that_is_no_model_names_the_setting(use, make, tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = .* cannot be loaded'):
        use(make(tmp_path))


@pytest.mark.parametrize("use", USES[3:])
def test_broken_weights_name_the_setting(use, make, models, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(models["plain"], folder)
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")

    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = .* cannot be loaded'):
        use(make(folder))


@pytest.mark.parametrize("use", USES[2:])
def test_a_model_without_an_image_tower_is_refused(use, make):
    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["MODEL"\] = .* has no image tower'):
        use(make("text"))


def test_a_missing_text_model_names_its_setting(make):
    with pytest.raises(ModelUnavailable, match=r'CLIP_SEARCH\["TEXT_MODEL"\] = \'/no/text\''):
        make("plain", "/no/text").embed_texts(["mug"])


def test_towers_of_different_dimensions_are_refused(make):
    with pytest.raises(ModelUnavailable, match=rf"gives 16 dimensions, .* {DIMENSION}.*\"TEXT_MODEL\""):
        make("plain", "narrow text").warm_up()


@pytest.mark.parametrize(
    ("options", "named"),
    [({"DEVICE": "cuda"}, "DEVICE"), ({"DEVICE": "toaster"}, "DEVICE"), ({"precision": "int3"}, "PRECISION")],
)
def test_a_device_or_precision_that_is_not_there_is_named(options, named, make, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    with pytest.raises(ModelUnavailable, match=rf'CLIP_SEARCH\["{named}"\]'):
        make(**options).embed_texts(["mug"])


# The process's encoder.


def test_a_process_has_one_encoder_for_the_same_settings(make):
    make("plain")
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: id(get_encoder()), range(32)))

    assert found == {id(get_encoder())}
    assert isinstance(get_encoder(), ClipEncoder)


def test_other_settings_give_another_encoder(make, settings):
    make("plain")
    plain = get_encoder()
    make("legacy")

    assert get_encoder() is not plain
    settings.CLIP_SEARCH = {"ENCODER": "unittest.mock.Mock"}
    assert not isinstance(get_encoder(), ClipEncoder)
