"""Many threads that share a budget of pixels."""

from __future__ import annotations

import random
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from PIL import Image, ImageFile

from clip_search import images
from tests.conftest import PATIENCE, wait_until

from .pictures import FORMATS, SIZE, encoded, photo


def test_threads_get_what_one_alone_gets():
    many = [encoded(photo(seed), "JPEG") for seed in range(8)] * 4
    alone = [images.shrink(data, SIZE) for data in many]

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda data: images.shrink(data, SIZE), many))

    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


@pytest.mark.timing
@pytest.mark.parametrize(
    ("data", "expected"),
    [(encoded(photo()), 2), (encoded(photo(), "JPEG", progressive=True), 2), (encoded(photo(), "JPEG"), 6)],
)
def test_only_a_few_large_images_are_decoded_at_once(data, expected, monkeypatch):
    """A JPEG is small once drafted, unless it is progressive, which its decoder holds whole."""
    monkeypatch.setattr(images, "budget", images.Budget(2 * 300 * 200 + 100))
    inside, most, lock, arrived = 0, 0, threading.Lock(), threading.Event()
    square = images._square

    def slow(image, size, **how):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if most == expected:
                arrived.set()
        arrived.wait(PATIENCE)
        time.sleep(0.05)  # for one too many to come, too
        with lock:
            inside -= 1
        return square(image, size, **how)

    monkeypatch.setattr(images, "_square", slow)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda d: images.shrink(d, SIZE), [data] * 6))

    assert most == expected


@pytest.mark.timing
def test_a_large_image_gets_its_turn_between_small_ones():
    budget, order = images.Budget(10), []

    def small(number):
        with budget.taken(5):
            order.append("small")

    def large():
        with budget.taken(1000):  # more than there are: it waits for all of them
            order.append("large")

    with ThreadPoolExecutor(6) as threads:
        with budget.taken(5):
            threads.submit(large)
            assert wait_until(budget._turn.locked)  # the large one is next
            smalls = threads.map(small, range(20))
        list(smalls)

    assert order == ["large"] + ["small"] * 20


@pytest.mark.timing
def test_what_is_taken_at_once_is_given_back_to_the_last_pixel():
    """In floating point it would not be, and who then wants all there is would wait for ever."""
    budget, sides = images.Budget(20_000_000), random.Random(0)
    for _ in range(2000):
        one, other = (sides.randint(600, 1800) * sides.randint(600, 1800) * 1.6 for _ in range(2))
        with ExitStack() as first, budget.taken(other):
            first.enter_context(budget.taken(one))
            first.close()  # before the other, as in threads
    everything = threading.Thread(target=lambda: budget.taken(20_000_000).__enter__(), daemon=True)
    everything.start()
    everything.join(PATIENCE)
    assert not everything.is_alive()


def test_a_failed_image_gives_its_share_back():
    budget = images.Budget(10)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), budget.taken(10):
            1 / 0  # noqa: B018
    with budget.taken(10):
        pass


def test_the_next_image_waits_until_the_memory_of_the_last_one_is_free(monkeypatch):
    """Each is as large as all that may be decoded at once, so never are two of them there."""
    seen, most = [], []
    load = ImageFile.ImageFile.load

    def noted(image):
        seen.append(weakref.ref(image))
        most.append(len({id(alive) for alive in (one() for one in seen) if alive is not None}))
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", noted)
    monkeypatch.setattr(images, "budget", images.Budget(300 * 200))
    transpose = images._orientation
    monkeypatch.setattr(images, "_orientation", lambda image: time.sleep(0.01) or transpose(image))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda data: images.shrink(data, SIZE), [FORMATS["PNG"]] * 12))

    assert max(most) == 1


def test_a_worker_s_large_pictures_are_in_one_piece():
    usual = Image.core.get_block_size()
    try:
        images.release_memory_early()
        assert Image.core.get_block_size() > 32 * 1024 * 1024
        assert images.shrink(FORMATS["PNG"], SIZE).shape == (SIZE, SIZE, 3)
    finally:
        Image.core.set_block_size(usual)
