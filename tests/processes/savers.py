"""Eight threads of a shop that save its products: `python -m tests.processes.savers SAVES`.

A process of its own, because pytest's has coverage trace each line: saves would be half as fast, and what the
workers do in the meantime twice as much.
"""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor

THREADS = 8


def work(number: int, saves: int) -> None:
    """Save products chosen at random, each time with another name and price."""
    from django.db import connection

    from tests.shops.shop.models import Product

    keys = list(Product.objects.values_list("pk", flat=True))
    rng = random.Random(number)
    for turn in range(saves):
        product = Product.objects.get(pk=rng.choice(keys))
        product.name, product.price = f"{number} {turn} saves", turn
        product.save()
    connection.close()


if __name__ == "__main__":
    import django

    django.setup()
    each = int(sys.argv[1]) // THREADS
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, range(THREADS), [each] * THREADS))  # raises what a thread raised
