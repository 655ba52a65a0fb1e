"""What the index must hold, computed from the rows alone, and what it holds, read without the package.

It imports nothing of clip_search: the hashing embedding, the point ids, the payload and the reading of
points are written here a second time, so that a fault of the package is not repeated. Tombstones are
allowed, as docs/explanation/glossary.rst describes them: a point without vectors whose `_clip` says that it
is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import re
import struct
import urllib.request
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection
from PIL import Image

from tests.shops.shop.models import Product

NAMESPACE = uuid.uuid5(uuid.UUID("6f0c3f3e-5d1b-5f0e-9a61-0d3c2f6c7a11"), "product")
DIMENSION = 256
SIDE = 16
PALETTE = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (220, 30, 30),
    "orange": (255, 140, 0),
    "yellow": (250, 220, 30),
    "green": (30, 160, 60),
    "blue": (30, 80, 220),
    "purple": (130, 40, 180),
    "pink": (250, 130, 190),
    "brown": (120, 70, 30),
}
Vector = list[float]


@dataclass(frozen=True)
class Seen:
    """A product's point, as it is or as it should be."""

    product_id: str
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    removed: bool = False
    broken: bool = False
    """Whether its image is no picture, so that it is found by its text alone, and failed."""


def point_id(product_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, product_id))


# The embedding, a second time.


def bag(words: Mapping[str, float] | list[tuple[str, float]]) -> Vector:
    vector = [0.0] * DIMENSION
    for word, weight in words.items() if isinstance(words, Mapping) else words:
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        sign = 1.0 if digest[4] & 1 else -1.0
        vector[1 + struct.unpack(">I", digest[:4])[0] % (DIMENSION - 1)] += sign * weight
    vector[0] = 0.01
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def text_vector(text: str) -> Vector:
    return bag([(word, 1.0) for word in re.findall(r"\w+", text.lower())])


def image_vector(path: Path) -> Vector | None:
    """Return the vector of a picture of one colour; None if the file is no picture."""
    try:
        with Image.open(path) as picture:
            low, high = zip(*picture.convert("RGB").getextrema(), strict=True)
    except OSError:  # Pillow's own, and that of a file that is gone
        return None
    assert low == high, "the oracle knows pictures of one colour only"
    name = min(PALETTE, key=lambda n: sum((a - b) ** 2 for a, b in zip(PALETTE[n], low, strict=True)))
    pixels = struct.pack(f"<{3 * SIDE * SIDE}f", *(list(map(float, low)) * (SIDE * SIDE)))
    return bag([(name, 1.0), (hashlib.blake2b(pixels, digest_size=8).hexdigest(), 0.05)])


# What should be there.


def expected(posted: Collection[str] = ()) -> dict[str, Seen]:
    """Return every point that should be there, by its id; `posted` are those that were posted last."""
    found = {}
    for product in Product.objects.filter(is_public=True).select_related("category"):
        if str(product.pk) not in posted:
            found[point_id(str(product.pk))] = of_row(product)
    for seen in of_posts():
        if seen.product_id in posted:
            found[point_id(seen.product_id)] = seen
    return found


def of_row(product: Product) -> Seen:
    payload = {"price": float(product.price), "in_stock": product.in_stock}
    if tags := sorted(product.tags.values_list("name", flat=True)):
        payload["tag"] = tags
    if product.category:
        payload["category"] = product.category.slug
    image = product.images.order_by("position", "pk").first()
    name = image.original.name if image else ""
    found = vectors(product.name, product.description, name)
    return Seen(str(product.pk), found, payload, broken=bool(name) and "image" not in found)


def of_posts() -> Iterator[Seen]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT product_id, name, description, metadata, image FROM clip_search_postedproduct")
        rows = cursor.fetchall()
    for product_id, name, description, metadata, image in rows:
        given = json.loads(metadata) if isinstance(metadata, str) else metadata
        filtered = {"price": float(given["price"])} if given else {}
        payload = {"name": name, "description": description, "metadata": given, **filtered}
        yield Seen(product_id, vectors(name, description, image), payload)


def vectors(name: str, description: str, image: str) -> dict[str, Vector]:
    text = ". ".join(filter(None, (" ".join(name.split()), " ".join(description.split()))))
    found = {"text": text_vector(text)} if text else {}
    shown = image_vector(Path(settings.MEDIA_ROOT) / image) if image else None
    return found | ({"image": shown} if shown else {})


# What is there.


def live_collection() -> str:
    """Return the name of the one that is searched."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM clip_search_collection WHERE document = 'product' AND state = 'live'"
        )
        rows = cursor.fetchall()
    if len(rows) != 1:
        raise ObjectDoesNotExist(f"{len(rows)} live collections")
    return str(rows[0][0])


def embedded_points(folder: Path, collection: str) -> dict[str, Seen]:
    """Read every point of an embedded store with its own engine, while no other process has it open.

    A process that has it open closes it when another waits for `NAME.turn`.
    """
    import qdrant_edge as edge

    found: dict[str, Seen] = {}
    queue, holder = (folder / f"{collection}.{name}" for name in ("turn", "lock"))
    with queue.open("ab") as turn, holder.open("ab") as lock:
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_UN)
        shard = edge.EdgeShard.load(str(folder / collection))
        after = None
        try:
            while True:
                asked = edge.ScrollRequest(offset=after, limit=500, with_payload=True, with_vector=True)
                records, after = shard.scroll(asked)
                found |= {str(r.id): seen(r.payload, r.vector) for r in records}
                if after is None:
                    return found
        finally:
            shard.close()


def server_points(url: str, collection: str) -> dict[str, Seen]:
    """Read every point of a server, over HTTP."""
    found: dict[str, Seen] = {}
    after = None
    while True:
        asked = {"offset": after, "limit": 500, "with_payload": True, "with_vector": True}
        request = urllib.request.Request(  # noqa: S310, our own server
            f"{url}/collections/{collection}/points/scroll",
            data=json.dumps(asked).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            result = json.load(answer)["result"]
        found |= {str(r["id"]): seen(r["payload"], r.get("vector")) for r in result["points"]}
        after = result.get("next_page_offset")
        if after is None:
            return found


def seen(payload: dict[str, Any], vectors: Any) -> Seen:
    stamp = payload.pop("_clip")
    payload.pop("_terms", None)  # written together with the payload, by which they are checked
    plain = {
        name: [float(value) for value in vector]
        for name, vector in (vectors or {}).items()
        if name != "words"
    }
    if isinstance(payload.get("tag"), list):
        payload["tag"].sort()
    return Seen(stamp["product_id"], plain, payload, stamp.get("removed", False))


# The invariant.


def differences(should: Mapping[str, Seen], points: Mapping[str, Seen]) -> list[str]:
    """Return a line for each difference between the points and what they should be. Tombstones may stay."""
    found = [f"{should[key].product_id}: no point" for key in should.keys() - points.keys()]
    for key, point in points.items():
        if point.removed and not point.vectors and key not in should:
            continue
        found += [f"{point.product_id}: {said}" for said in differing(should.get(key), point)]
    return sorted(found)


def wrong_states(should: Mapping[str, Seen], entries: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return a line for each entry in a wrong state; an entry is (product_id, state, error)."""
    states = {seen.product_id: "failed" if seen.broken else "indexed" for seen in should.values()}
    found = []
    for product_id, state, error in entries:
        right = states.pop(product_id, "removed")
        if state != right:
            found.append(f"{product_id}: {state}, should be {right} {error}".strip())
    return sorted(found + [f"{product_id}: no entry" for product_id in states])


def differing(should: Seen | None, point: Seen) -> Iterator[str]:
    if should is None:
        yield f"a point that should not be there, {dict(point.payload)}"
        return
    if point.removed:
        yield "a tombstone where a point should be"
        return
    if point.payload != should.payload:
        yield f"payload {dict(point.payload)}, should be {dict(should.payload)}"
    for name in sorted(should.vectors.keys() | point.vectors.keys()):
        one, other = should.vectors.get(name), point.vectors.get(name)
        if one is None or other is None:
            yield f"{name} vector {'missing' if other is None else 'that should not be there'}"
        elif any(abs(a - b) > 1e-4 for a, b in zip(one, other, strict=True)):
            yield f"{name} vector of something else"
