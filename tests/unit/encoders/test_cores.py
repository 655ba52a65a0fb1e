"""How torch's threads share the cores."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clip_search.encoders.inter_op import InterOpPool, share_cores
from tests.conftest import PATIENCE
from tests.samples.clip_models import IMAGE_SIZE

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")


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


@pytest.mark.timing
def test_each_thread_of_the_pool_has_its_part_of_the_cores(eight_cores):
    import torch

    share_cores(1)
    pool = InterOpPool()
    assert pool.map(lambda part: (part, threading.get_ident()), [1]) == [(1, threading.get_ident())]
    everyone = threading.Barrier(4)  # broken unless four are at work at once

    def work(part: int) -> tuple[int, int]:
        everyone.wait(PATIENCE)
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
    output, _ = process.communicate(timeout=PATIENCE)
    assert output.split() == [policy, "False"]
