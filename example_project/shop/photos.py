"""The photos that shoppers search by, stored as small JPEG files in their sessions.

So the results have an address, pages and filters, and the photo need not be sent again. A photo is deleted
with the session.
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
MAX_PHOTOS = 4
"""Photos in one session, which is one row of the database."""
SIZE = 384
"""Width and height in pixels: more than most CLIP models use."""


def small_jpeg(upload: IO[bytes]) -> bytes:
    """Return the middle square of a photo, the part that CLIP uses, as a small JPEG file.

    Raise BadImage if it is not a readable image.
    """
    picture = images.picture(images.shrink(images.read(upload), SIZE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return file.getvalue()


def store(session: SessionBase, photo: bytes) -> str:
    """Store a photo in the session and drop the oldest if there are too many. Return its key."""
    key = hashlib.blake2b(photo, digest_size=8).hexdigest()
    others = {k: v for k, v in _photos(session).items() if k != key}
    latest = list(others.items())[-(MAX_PHOTOS - 1) :]
    session[SESSION_KEY] = dict(latest) | {key: base64.b64encode(photo).decode()}
    return key


def load(session: SessionBase, key: str) -> bytes | None:
    """Return a photo of the session, or None if there is none with this key."""
    try:
        return base64.b64decode(_photos(session)[key], validate=True)
    except (KeyError, binascii.Error):
        return None


def data_url(photo: bytes) -> str:
    """Return a photo as a `data:` URL for an <img>."""
    return f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"


def _photos(session: SessionBase) -> dict[str, str]:
    return dict(session.get(SESSION_KEY, {}))
