"""Load the images of products in threads, and embed the texts and images that have no stored vector."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import SuspiciousFileOperation

from .. import images
from ..encoders.base import Encoder
from ..exceptions import BadImage, StorageUnavailable
from ..types import TEXT, ImageSource, ImageStamp
from .items import Item, hash_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


REMOTE_IMAGES_PER_THREAD: Final = 4
"""How many remote images are loaded in the place of one local image, because their storage answers late."""
NO_SUCH_FILE: Final = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Error codes which, beside FileNotFoundError, mean that a file of this name cannot exist."""


class Stopped(BaseException):
    """The worker was asked to stop. Other workers will index the unfinished products.

    Like KeyboardInterrupt, it is no Exception, because a signal may raise it anywhere: also inside a method
    of the shop, or inside a library that turns every Exception into an error of its own.
    """


def split_by_embedding(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Return two lists: items of which a text or image may need embedding, and the others.

    An item whose image has a new signature is in the first list, because its image must at least be opened.
    An item that failed or is postponed is in the second one.
    """
    to_embed, ready = [], []
    for item in items:
        if item.is_settled:
            ready.append(item)
            continue
        known = known_images(item)
        sources = item.content.images if item.content else ()
        if needs_text(item) or any(source.signature not in known for source in sources):
            to_embed.append(item)
        else:
            item.stamps = tuple(known[source.signature] for source in sources)
            ready.append(item)
    return to_embed, ready


def known_images(item: Item) -> dict[str, ImageStamp]:
    """Return the stamps of the images whose stored vectors can be reused, by signature.

    A broken image is not among them: its file may have been repaired while its signature stayed the same. The
    result is empty if all image files must be read again (`IndexEntry.reads_images`).
    """
    if item.entry.reads_images:
        return {}
    stamps = item.reusable.stamp.images if item.reusable else ()
    return {s.signature: s for s in stamps if not s.error and s.hash in item.reusable_images}


def needs_text(item: Item) -> bool:
    """Return True if the product has a text, and no stored vector of this text can be reused."""
    if item.content is None or not item.content.text:
        return False
    if item.reusable is None or TEXT not in item.reusable.vectors:
        return True
    return item.reusable.stamp.text_hash != hash_text(item.content.text)


class ImageLoader:
    """Reads and shrinks images: local files in so many threads, and remote files in four times as many."""

    def __init__(self, threads: int) -> None:
        self._local = ThreadPoolExecutor(threads, "clip_search-local")
        self._remote = ThreadPoolExecutor(threads * REMOTE_IMAGES_PER_THREAD, "clip_search-remote")

    def load(self, item: Item, encoder: Encoder) -> None:
        """Start to load an item's images. An image whose stored vector can be reused is not opened."""
        known, hashes = known_images(item), set(item.reusable_images)
        for source in item.content.images if item.content else ():
            threads = self._local if source.local else self._remote
            stamp = known.get(source.signature)
            item.loading.append(threads.submit(load_image, source, stamp, hashes, encoder))

    def shut_down(self) -> None:
        """Cancel what has not begun, and wait until each thread has finished the image that it is loading."""
        for threads in (self._remote, self._local):
            threads.shutdown(cancel_futures=True)


def load_image(
    source: ImageSource, known: ImageStamp | None, hashes: set[str], encoder: Encoder
) -> tuple[ImageStamp, NDArray[np.uint8] | None]:
    """Return an image's stamp, and its pixels if it must be embedded, else None.

    `known` is the stamp of an image whose stored vector can be reused; its file is not opened. `hashes`
    contains the content hashes of all images whose stored vectors can be reused. A broken image gets a stamp
    with `error`. Raises StorageUnavailable.
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
    """Return the bytes of an image file.

    Raises BadImage if the file is missing or too large, and StorageUnavailable if the storage fails.
    """
    try:
        with source.open() as file:
            return images.read(file)
    except BadImage:
        raise
    except Exception as error:  # a remote storage backend raises exceptions of its client, such as boto3's
        if is_missing(error) or "\0" in source.name:
            raise BadImage(f"The image file {source.name} is missing. Upload it again.") from error
        raise StorageUnavailable(f"Cannot read image {source.name}: {error}") from error


def is_missing(error: Exception) -> bool:
    """Return True if the error says that the storage has no such file, so that trying again does not help.

    SuspiciousFileOperation is one of these: Django raises it for a name that leads out of the storage.
    """
    if isinstance(error, FileNotFoundError | SuspiciousFileOperation):
        return True
    return isinstance(error, OSError) and error.errno in NO_SUCH_FILE


def embed(encoder: Encoder, items: Sequence[Item], stop: Callable[[], bool]) -> None:
    """Embed the texts and images of the items that have no reusable vector. Equal ones are embedded once.

    Raises Stopped when `stop()` returns True, and ModelUnavailable.
    """
    if stop():
        raise Stopped
    embed_texts(encoder, items)
    embed_images(encoder, items, stop)


def embed_texts(encoder: Encoder, items: Sequence[Item]) -> None:
    """Embed the texts that have no reusable vector, and set `text_vector` and `truncated` of their items."""
    new = [item for item in items if needs_text(item)]
    texts = list(dict.fromkeys(item.content.text for item in new if item.content))
    if texts:
        vectors = dict(zip(texts, encoder.embed_texts(texts), strict=True))
        find_truncated = getattr(encoder, "truncated", None)
        truncated = set(compress(texts, find_truncated(texts))) if find_truncated else set()
        for item in new:
            if item.content:
                item.text_vector = vectors[item.content.text]
                item.truncated = item.content.text in truncated


def embed_images(encoder: Encoder, items: Sequence[Item], stop: Callable[[], bool]) -> None:
    """Embed the images that have no reusable vector, and set `image_vectors` of their items.

    Each batch is embedded while the next images are still being loaded. Raises Stopped when `stop()` returns
    True.
    """
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
    """Yield the hash and pixels of each image that must be embedded; equal images are yielded once.

    For each such image of an item, append the item and the hash to `requests`.
    """
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
    """Wait for an item's images, set its `stamps`, and return each image's stamp and pixels.

    If the storage fails, set `postponed` and return nothing: the product is then indexed later.
    """
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
    """Yield the items in lists of `size`. The last list may be shorter."""
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
