"""How torch's threads share the cores."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clip_search.encoders.inter_op import InterOpPool, keep_to_cores, share_cores
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


def test_torch_keeps_to_the_cores_that_a_container_may_use(eight_cores, monkeypatch):
    torch.set_num_threads(64)
    keep_to_cores()
    assert torch.get_num_threads() == 8
    torch.set_num_threads(4)  # cores with two threads each: torch has one for each core
    keep_to_cores()
    assert torch.get_num_threads() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    torch.set_num_threads(64)
    keep_to_cores()
    assert torch.get_num_threads() == 64


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
    everyone = threading.Barrier(8)  # broken unless eight are at work at once

    def work(part: int) -> tuple[int, int]:
        everyone.wait(PATIENCE)
        return part, torch.get_num_threads()

    assert pool.map(work, range(16)) == [(part, 1) for part in range(16)]
    assert torch.get_num_threads() == 8
    share_cores(4)
    everyone = threading.Barrier(2)
    assert pool.map(work, range(8)) == [(part, 1) for part in range(8)]
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda part: 1 // part, [1, 0])


@pytest.mark.timing
@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        (2, [1, 1]),
        (6, [1] * 6),
        (7, [1] * 7),
        (8, [1] * 8),
        (10, [1] * 10),
        (12, [1] * 12),
        (16, [1] * 16),
        (19, [2] * 8 + [3]),
        (24, [2] * 12),
        (32, [2] * 16),
        (64, [4] * 16),
    ],
)
def test_as_many_threads_compute_at_once_as_there_are_cores(eight_cores, monkeypatch, cores, shares):
    """To multiply matrices, torch starts its own threads. All threads of the process are counted."""
    monkeypatch.setattr("clip_search.encoders.inter_op.cores", lambda: cores)
    share_cores(1)
    pool, everyone = InterOpPool(), threading.Barrier(len(shares))
    matrix = torch.ones(512, 512)
    before = threads_of_this_process()

    def work(part: int) -> int:
        everyone.wait(PATIENCE)  # broken unless so many are at work at once
        assert bool((matrix @ matrix == 512).all())
        return torch.get_num_threads()

    try:
        assert pool.count == len(shares)
        assert sorted(pool.map(work, shares)) == shares
        assert torch.get_num_threads() == sum(shares) == cores
        assert len(threads_of_this_process() - before) == cores
    finally:
        pool._started().shutdown()


def threads_of_this_process() -> set[str]:
    return {path.name for path in Path("/proc/self/task").iterdir()}


def test_one_thread_computes_one_batch_after_the_other(eight_cores):
    share_cores(8)
    pool = InterOpPool()
    assert pool.count == 1
    found = pool.map(lambda part: (part, threading.get_ident()), [1, 2])
    assert found == [(1, threading.get_ident()), (2, threading.get_ident())]


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


def test_no_part_is_empty_with_a_batch_size_of_one(make, eight_cores):
    share_cores(4)
    found: list[int] = []

    def embed(part):
        found.append(len(part))
        return part

    assert (make(BATCH_SIZE=1)._in_batches(embed, np.arange(17)) == np.arange(17)).all()
    assert found == [1] * 17


@pytest.mark.parametrize(
    ("count", "processes", "sizes"),
    [
        (20, 1, [20]),  # all threads together at so few
        (40, 1, [20] * 2),
        (64, 1, [8] * 8),  # one for each of eight threads
        (128, 1, [8] * 16),  # two
        (200, 4, [25] * 8),  # more than 32 at once gain nothing
        (64, 4, [16] * 4),
        (300, 1, [18, 19, 19, 19] * 4),
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
