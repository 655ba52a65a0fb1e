"""A process that is forked from one that has searched, as by `gunicorn --preload`, can search too."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.samples import clip_models

pytestmark = pytest.mark.model
pytest.importorskip("torch")

FORK = """
import os, signal, sys
import django
django.setup()
import torch
from clip_search.encoders import get_encoder

torch.set_num_threads(2)
encoder = get_encoder()
expected = encoder.embed_texts(["a red mug"])
large = torch.ones(4_000_000)
torch.exp(large)  # as the layers of a large model do, on the main thread: it starts OpenMP's threads
child = os.fork()
if not child:
    signal.alarm(60)  # a child that hangs is killed
    torch.exp(large)
    found = encoder.embed_texts(["a red mug"])
    os._exit(0 if abs(found - expected).max() < 1e-5 else 1)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
again = encoder.embed_texts(["a red mug"])
print("parent", int(abs(again - expected).max() > 1e-5), flush=True)
"""


def test_a_forked_child_embeds_and_so_does_its_parent_afterwards(start_process, tmp_path):
    settings = tmp_path / "fork_settings.py"
    settings.write_text(
        "from tests.settings import *\n"
        f"CLIP_SEARCH = CLIP_SEARCH | {{'ENCODER': 'clip_search.encoders.clip.ClipEncoder', 'DEVICE': 'cpu',"
        f" 'MODEL': {str(clip_models.save_plain(tmp_path / 'model'))!r}, 'PRECISION': 'float32'}}\n"
    )
    process = start_process(
        "-c", FORK, DJANGO_SETTINGS_MODULE="fork_settings", PYTHONPATH=f"{tmp_path}:{ROOT}"
    )
    output, _ = process.communicate(timeout=600)
    assert output.splitlines()[-2:] == ["child 0", "parent 0"], output
