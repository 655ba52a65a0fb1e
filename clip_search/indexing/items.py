"""`Item`: a claimed entry, and what the pipeline has found out about its product."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from django.utils.functional import cached_property

from ..documents.words import Analyser, has_code_terms
from ..models import IndexEntry
from ..types import IMAGE, Content, ImageStamp, Point, Stamp, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SORTED: Final = json.JSONEncoder(sort_keys=True, default=str)
"""Sorts the keys, so that equal payloads have equal hashes."""
all_but_revision: Final = attrgetter(*(field.name for field in fields(Stamp) if field.name != "revision"))


@dataclass
class Item:
    """A claimed entry, and what the pipeline has found out about its product so far."""

    entry: IndexEntry
    fingerprint: str
    """The fingerprint of the CLIP model that embeds the product."""
    analyser: Analyser
    """The analyser of the document, which finds the product's words."""
    content: Content | None = None
    """The product's text, images and payload; None if the product must be removed from the index."""
    error: str = ""
    """Why this product cannot be indexed as it is."""
    postponed: str = ""
    """Why the product must be indexed later, such as "the storage does not answer"."""
    points: Mapping[str, Point] | None = None
    """The product's stored points by the name of their collection; None before the store was asked."""
    loading: list[Future[tuple[ImageStamp, Any]]] = field(default_factory=list)
    """A future for each image that is loaded now: its stamp, and its pixels if it must be embedded."""
    stamps: tuple[ImageStamp, ...] = ()
    text_vector: NDArray[np.float32] | None = None
    truncated: bool = False
    """True if this run embedded the text, and the text was too long for the CLIP model."""
    image_vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """The vectors that this run embedded, by the hash of the image's bytes."""
    words: Words | None = None
    """The product's words, if this run writes its point."""

    @property
    def is_settled(self) -> bool:
        """Return True if the item failed or is postponed, so its point is not written now."""
        return bool(self.error or self.postponed)

    @cached_property
    def reusable(self) -> Point | None:
        """Return the first stored point that the configured CLIP model built: its vectors can be reused."""
        for point in (self.points or {}).values():
            if point.stamp.fingerprint == self.fingerprint and not point.stamp.removed:
                return point
        return None

    @cached_property
    def reusable_images(self) -> dict[str, NDArray[np.float32]]:
        """Return the stored image vectors that can be reused, by the hash of the image's bytes."""
        if self.reusable is None or IMAGE not in self.reusable.vectors:
            return {}
        rows = self.reusable.vectors[IMAGE]
        hashes = [stamp.hash for stamp in self.reusable.stamp.images if not stamp.error]
        return dict(zip(hashes, rows.reshape(-1, rows.shape[-1]), strict=False))

    @property
    def stamp(self) -> Stamp:
        """Return the stamp to store with the product's point or tombstone."""
        entry, content = self.entry, self.content
        if content is None:
            return Stamp(
                product_id=entry.product_id,
                revision=entry.claimed_revision,
                source=entry.source,
                removed=True,
            )
        text_hash, payload_hash = self._hashes
        return Stamp(
            product_id=entry.product_id,
            revision=entry.claimed_revision,
            source=entry.source,
            fingerprint=self.fingerprint,
            text_hash=text_hash,
            words_hash=self._words_hash,
            payload_hash=payload_hash,
            images=self.stamps,
            exact=content.exact,
            invalid=tuple(sorted(content.invalid)),
            truncated=self.truncated or self._was_truncated(text_hash),
            without_row=content.without_row,
        )

    def _was_truncated(self, text_hash: str) -> bool:
        """Return True if the text's stored vector is reused, and the text was too long for the CLIP model."""
        reused = self.reusable.stamp if self.reusable and self.text_vector is None else None
        return reused is not None and reused.truncated and reused.text_hash == text_hash

    @cached_property
    def _hashes(self) -> tuple[str, str]:
        """Return the hash of the text and the hash of the payload."""
        text, payload = (self.content.text, self.content.payload) if self.content else ("", {})
        return hash_text(text), hash_text(SORTED.encode(payload))

    @cached_property
    def _words_hash(self) -> str:
        """Return the hash of what the product's words depend on. No text is split into words for it."""
        if self.content is None:
            return ""
        codes = [code for code in self.content.codes if has_code_terms(code)]
        texts = [f"{weight} {len(text)} {text}" for text, weight in self.content.searched]
        return hash_text("\n".join([self.analyser.fingerprint, *texts, *codes]))


def hash_text(text: str) -> str:
    """Return a hash of a text, 32 hex digits, or "" if the text is empty."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest() if text else ""


def is_same_content(one: Stamp, other: Stamp) -> bool:
    """Return True if two stamps differ in nothing but the revision."""
    return bool(all_but_revision(one) == all_but_revision(other))
