"""What is to be done and what was done, as rows: one module for each table."""

from .collections import Collection
from .entries import IndexEntry
from .posted import PostedProduct
from .related import RelatedChange

__all__ = ["Collection", "IndexEntry", "PostedProduct", "RelatedChange"]
