"""The photos that a shopper searches by: small, and kept in the shopper's own session.

So results have an address, pages and filters without the photo being sent again, and it goes when the
session goes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from typing import IO

from django.contrib.sessions.backends.base import SessionBase

from clip_search import images

SESSION_KEY = "photos"
MOST_KEPT = 4  # a session is one row of the database
SIDE = 384
"""Pixels: more than most CLIP models look at. It is the same middle square that they would cut out."""


def shrunk(upload: IO[bytes]) -> bytes:
    """Return the part of a photo that is searched by, as a small JPEG file. Raises BadImage."""
    upright = images.picture(images.shrink(images.read(upload), SIDE))
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=88)
    return file.getvalue()


def keep(session: SessionBase, photo: bytes) -> str:
    """Keep a photo, and no more than the last few before it. Returns its key."""
    key = hashlib.blake2b(photo, digest_size=8).hexdigest()
    before = {k: v for k, v in _kept(session).items() if k != key}
    latest = list(before.items())[-(MOST_KEPT - 1) :]
    session[SESSION_KEY] = dict(latest) | {key: base64.b64encode(photo).decode()}
    return key


def kept(session: SessionBase, key: str) -> bytes | None:
    """Return a photo, or None where it is not kept any more."""
    try:
        return base64.b64decode(_kept(session)[key], validate=True)
    except (KeyError, binascii.Error):
        return None


def as_url(photo: bytes) -> str:
    """Return a photo as something that an <img> shows, without a request of its own."""
    return f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"


def _kept(session: SessionBase) -> dict[str, str]:
    return dict(session.get(SESSION_KEY, {}))
