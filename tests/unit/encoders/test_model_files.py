"""The fingerprint of a model's files, and models named on the hub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clip_search.exceptions import ModelUnavailable
from tests.conftest import ROOT
from tests.samples import clip_models
from tests.samples.clip_models import DIMENSION

from .reference import shrunk

pytestmark = pytest.mark.model

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
    monkeypatch.setattr("clip_search.encoders.clip.PREPROCESSING", "another")

    assert len({plain, with_text, make("plain").fingerprint, make("legacy").fingerprint}) == 4


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
