"""Load images in threads, and embed what the store does not have yet."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import SuspiciousFileOperation

from .. import images
from ..cores import cores
from ..encoders.base import Encoder
from ..exceptions import BadImage, ClipSearchError, StorageUnavailable
from ..types import TEXT, ImageSource, ImageStamp
from .items import Item, hash_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


REMOTE_A_CORE: Final = 4
"""Images of a remote storage that are loaded at once: it takes tens of milliseconds to answer."""
NO_SUCH_FILE: Final = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class Stopped(ClipSearchError):
    """The worker was asked to stop. Unfinished products are given back."""


def split_by_model(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Return the items that need the model or an image, and the others, which are ready to be written."""
    waiting, ready = [], []
    for item in items:
        known = known_images(item)
        sources = item.content.images if item.content else ()
        if needs_text(item) or any(source.signature not in known for source in sources):
            waiting.append(item)
        else:
            item.stamps = tuple(known[source.signature] for source in sources)
            ready.append(item)
    return waiting, ready


def known_images(item: Item) -> dict[str, ImageStamp]:
    """Return the stamps of the images whose vectors can be reused, by signature.

    A broken image is never known: it may have been repaired without a change of its signature.
    """
    stamps = item.reusable.stamp.images if item.reusable else ()
    return {s.signature: s for s in stamps if not s.error and s.hash in item.reusable_images}


def needs_text(item: Item) -> bool:
    """Return whether the text is another one than that whose vector can be reused."""
    if item.content is None or not item.content.text:
        return False
    if item.reusable is None or TEXT not in item.reusable.vectors:
        return True
    return item.reusable.stamp.text_hash != hash_text(item.content.text)


class ImageLoader:
    """Threads that read and shrink images: one a core for files on a local disk, more for others."""

    def __init__(self) -> None:
        self._local = ThreadPoolExecutor(cores(), "clip_search-local")
        self._remote = ThreadPoolExecutor(cores() * REMOTE_A_CORE, "clip_search-remote")

    def load(self, item: Item, encoder: Encoder) -> None:
        """Start to load an item's images, without those that are known."""
        known = known_images(item)
        hashes = {stamp.hash for stamp in known.values()}
        for source in item.content.images if item.content else ():
            threads = self._local if source.local else self._remote
            stamp = known.get(source.signature)
            item.loading.append(threads.submit(load_image, source, stamp, hashes, encoder))

    def shut_down(self) -> None:
        """End the threads, each after the image that it is loading."""
        for threads in (self._remote, self._local):
            threads.shutdown(cancel_futures=True)


def load_image(
    source: ImageSource, known: ImageStamp | None, hashes: set[str], encoder: Encoder
) -> tuple[ImageStamp, NDArray[np.uint8] | None]:
    """Return an image's stamp and, unless it is known or broken, its pixels. Raises StorageUnavailable.

    `hashes` are those of the bytes of all images whose vectors can be reused.
    """
    if known:
        return known, None
    try:
        data = read_image(source)
    except BadImage as error:
        return ImageStamp(signature=source.signature, hash="", error=str(error)), None
    stamp = ImageStamp(signature=source.signature, hash=images.content_hash(data))
    if stamp.hash in hashes:
        return stamp, None
    try:
        return stamp, images.shrink(data, encoder.image_size)
    except BadImage as error:
        return replace(stamp, error=str(error)), None


def read_image(source: ImageSource) -> bytes:
    """Return the bytes of an image. Raises BadImage if the image is at fault, else StorageUnavailable."""
    try:
        with source.open() as file:
            return images.read(file)
    except BadImage:
        raise
    except Exception as error:  # a remote storage raises its own library's errors
        if is_missing(error) or "\0" in source.name:
            raise BadImage(f"The image file {source.name} is missing. Upload it again.") from error
        raise StorageUnavailable(f"Cannot read image {source.name}: {error}") from error


def is_missing(error: Exception) -> bool:
    """Return whether a storage has no file of that name, so that waiting does not help."""
    if isinstance(error, FileNotFoundError | SuspiciousFileOperation):  # or the name leads out of the storage
        return True
    return isinstance(error, OSError) and error.errno in NO_SUCH_FILE


def embed(encoder: Encoder, items: Sequence[Item], stop: Callable[[], bool]) -> None:
    """Embed what is not known yet, equal texts and equal images once. Raises Stopped, ModelUnavailable."""
    if stop():
        raise Stopped
    embed_texts(encoder, items)
    embed_images(encoder, items, stop)


def embed_texts(encoder: Encoder, items: Sequence[Item]) -> None:
    """Set `text_vector` of the items whose text is new."""
    new = [item for item in items if needs_text(item)]
    texts = list(dict.fromkeys(item.content.text for item in new if item.content))
    if texts:
        vectors = dict(zip(texts, encoder.embed_texts(texts), strict=True))
        for item in new:
            item.text_vector = vectors[item.content.text] if item.content else None


def embed_images(encoder: Encoder, items: Sequence[Item], stop: Callable[[], bool]) -> None:
    """Set `image_vectors` of the items whose images are new, while further images are being loaded."""
    requests: list[tuple[Item, str]] = []
    vectors: dict[str, NDArray[np.float32]] = {}
    for chunk in chunked(new_images(items, requests), encoder.batch_size):
        if stop():
            raise Stopped
        found = encoder.embed_images([pixels for _, pixels in chunk])
        vectors |= zip((hash_ for hash_, _ in chunk), found, strict=True)
    for item, hash_ in requests:
        item.image_vectors[hash_] = vectors[hash_]


def new_images(items: Sequence[Item], requests: list[tuple[Item, str]]) -> Iterator[tuple[str, Any]]:
    """Yield the hash and pixels of each new image once; append to `requests` which item needs which."""
    seen: set[str] = set()
    for item in items:
        for stamp, pixels in loaded_images(item):
            if pixels is None:
                continue
            requests.append((item, stamp.hash))
            if stamp.hash not in seen:
                seen.add(stamp.hash)
                yield stamp.hash, pixels


def loaded_images(item: Item) -> Sequence[tuple[ImageStamp, Any]]:
    """Wait for an item's images and return their stamps and pixels; none if the storage does not answer."""
    if not item.loading:
        return ()
    try:
        results = [future.result() for future in item.loading]
    except StorageUnavailable as error:
        item.postponed = str(error)
        return ()
    finally:
        item.loading = []
    item.stamps = tuple(stamp for stamp, _ in results)
    return results


def chunked(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items; the last one may be shorter."""
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
