"""The Django models of this package, one module for each."""

from .collections import Collection
from .databases import Database
from .entries import IndexEntry
from .posted import PostedProduct
from .related import RelatedChange
from .runs import Run
from .vocabulary import Vocabulary, Word

__all__ = [
    "Collection",
    "Database",
    "IndexEntry",
    "PostedProduct",
    "RelatedChange",
    "Run",
    "Vocabulary",
    "Word",
]
