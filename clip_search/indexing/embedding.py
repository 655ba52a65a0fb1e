"""Open images in threads, and embed what is not known yet."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import SuspiciousFileOperation

from .. import images
from ..cores import cores, wait_for_a_core
from ..encoder import Encoder, shrunk
from ..exceptions import BadImage, ClipSearchError, StorageUnavailable
from ..types import TEXT, ImageSource, ImageStamp
from .items import Item, digest
from .targets import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


REMOTE_A_CORE: Final = 4
"""Images of a remote storage that are read at once: it takes tens of milliseconds to answer."""
NO_SUCH_FILE: Final = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class Stopped(ClipSearchError):
    """The worker was asked to stop; what was not finished is released."""


def split(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Return those of which something must be opened or embedded, and the others, ready to be written."""
    heavy, light = [], []
    for item in items:
        known = known_images(item)
        if needs_text(item) or any(source.signature not in known for source in item.sources):
            heavy.append(item)
        else:
            item.stamps = tuple(known[source.signature] for source in item.sources)
            light.append(item)
    return heavy, light


class Openers:
    """Threads that open images and shrink them: one a core for those on a disk here, more for others."""

    def __init__(self) -> None:
        self._local = ThreadPoolExecutor(cores(), "clip_search-decode")
        self._remote = ThreadPoolExecutor(cores() * REMOTE_A_CORE, "clip_search-fetch")

    def open(self, item: Item, encoder: Encoder) -> None:
        """Have an item's images opened and shrunk, those left out that are known."""
        known = known_images(item)
        hashes = {stamp.hash for stamp in known.values()}
        item.decoded = [
            (self._local if source.local else self._remote).submit(decode_one, source, known, hashes, encoder)
            for source in item.sources
        ]

    def shut_down(self) -> None:
        """End the threads, once they have opened what they are at."""
        for threads in (self._remote, self._local):
            threads.shutdown(cancel_futures=True)


def known_images(item: Item) -> dict[str, ImageStamp]:
    """Return the stamps of the images whose vectors are there, by signature.

    Whatever was wrong with an image may be mended without a sign of it, so a broken one is not known.
    """
    stamps = item.known.images if item.known else ()
    return {s.signature: s for s in stamps if not s.error and s.hash in item.kept_images}


def decode_one(
    source: ImageSource, by_signature: Mapping[str, ImageStamp], hashes: set[str], encoder: Encoder
) -> tuple[ImageStamp, Any]:
    """Return an image's stamp and, unless it is known or broken, its pixels. Raises StorageUnavailable."""
    if source.signature in by_signature:
        return by_signature[source.signature], None
    if source.local:  # others are waited for meanwhile
        wait_for_a_core()
    try:
        data = read_image(source)
    except BadImage as error:
        return ImageStamp(signature=source.signature, hash="", error=str(error)), None
    stamp = ImageStamp(signature=source.signature, hash=images.content_hash(data))
    if stamp.hash in hashes:
        return stamp, None
    try:
        return stamp, shrunk(encoder, data)
    except BadImage as error:
        return replace(stamp, error=str(error)), None


def read_image(source: ImageSource) -> bytes:
    """Return the bytes of an image. Raises BadImage for the image's own fault, else StorageUnavailable."""
    try:
        with source.open() as file:
            return images.read(file)
    except BadImage:
        raise
    except Exception as error:  # a remote storage raises whatever its library raises
        if never_there(error) or "\0" in source.name:
            raise BadImage(f"The image file {source.name} is missing. Upload it again.") from error
        raise StorageUnavailable(f"Cannot read image {source.name}: {error}") from error


def never_there(error: Exception) -> bool:
    """Say whether a storage has no file of that name, and will have none: waiting would not help."""
    if isinstance(error, FileNotFoundError | SuspiciousFileOperation):  # or the name leads out of the storage
        return True
    return isinstance(error, OSError) and error.errno in NO_SUCH_FILE


def embed(goal: Target, items: Sequence[Item], stop: Callable[[], bool]) -> None:
    """Embed what is not known yet, equal texts and equal images once. Raises Stopped, ModelUnavailable."""
    if stop():
        raise Stopped
    embed_texts(goal, items)
    embed_images(goal, items, stop)


def embed_texts(goal: Target, items: Sequence[Item]) -> None:
    new = [item for item in items if needs_text(item)]
    texts = list(dict.fromkeys(item.content.text for item in new if item.content))
    if texts:
        vectors = dict(zip(texts, goal.encoder.embed_texts(texts), strict=True))
        for item in new:
            item.text_vector = vectors[item.content.text] if item.content else None


def embed_images(goal: Target, items: Sequence[Item], stop: Callable[[], bool]) -> None:
    wanted: list[tuple[Item, str]] = []
    vectors: dict[str, NDArray[np.float32]] = {}
    for chunk in chunked(new_pixels(items, wanted), goal.encoder.batch_size):
        if stop():
            raise Stopped
        found = goal.encoder.embed_images([pixels for _, pixels in chunk])
        vectors |= zip((hash_ for hash_, _ in chunk), found, strict=True)
    for item, hash_ in wanted:
        item.image_vectors[hash_] = vectors[hash_]


def new_pixels(items: Sequence[Item], wanted: list[tuple[Item, str]]) -> Iterator[tuple[str, Any]]:
    """Yield (hash, pixels) of what there is to embed, each hash once, and note in `wanted` who wants it."""
    seen: set[str] = set()
    for item, stamp, pixels in waiting_pixels(items):
        wanted.append((item, stamp.hash))
        if stamp.hash not in seen:
            seen.add(stamp.hash)
            yield stamp.hash, pixels


def needs_text(item: Item) -> bool:
    """Say whether the text is another than the one whose vector is there."""
    if item.content is None or not item.content.text:
        return False
    if item.kept is None or TEXT not in item.kept.vectors:
        return True
    return item.kept.stamp.text_hash != digest(item.content.text)


def waiting_pixels(items: Sequence[Item]) -> Iterator[tuple[Item, ImageStamp, Any]]:
    """Yield what there is to embed of each item's images, as the threads come to it."""
    for item in items:
        if not item.decoded:
            continue
        try:
            results = [future.result() for future in item.decoded]
        except StorageUnavailable as error:
            item.postponed = str(error)
            continue
        finally:
            item.decoded = []
        item.stamps = tuple(stamp for stamp, _ in results)
        yield from ((item, stamp, pixels) for stamp, pixels in results if pixels is not None)


def chunked(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items, the last one shorter."""
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
