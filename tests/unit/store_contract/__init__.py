"""What every store promises: one suite, subclassed in a few lines for each store."""

from __future__ import annotations

from .filtering import Filtering
from .reading import Reading
from .words import WordSearch
from .writing import Writing


class StoreContract(Writing, Reading, Filtering, WordSearch):
    """Subclass with a `store` fixture that gives an empty store."""
