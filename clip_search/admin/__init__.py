"""The admin: it shows the index status of products, searches in the index, and reindexes products."""

from __future__ import annotations

from .entries import CollectionAdmin, IndexEntryAdmin, PostedProductAdmin
from .products import ClipSearchAdminMixin

__all__ = ["ClipSearchAdminMixin", "CollectionAdmin", "IndexEntryAdmin", "PostedProductAdmin"]
