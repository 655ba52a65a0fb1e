"""Signals that the package sends. A receiver that raises is logged and harms nothing.

The sender is the document class, so that receivers can be connected for one document::

    @receiver(indexed, sender=ProductDocument)
    def purge_page_cache(sender, product_ids, **kwargs): ...
"""

from __future__ import annotations

from django.dispatch import Signal

indexed = Signal()
"""Products were written to the index, or found up to date there.

Arguments: `document` (its name), `product_ids`.
"""

index_failed = Signal()
"""Products cannot be indexed as they are.

Arguments: `document` (its name), `errors` (a dict of messages by product id).
"""

search_performed = Signal()
"""A page of a search was read from the store.

Arguments: `document` (its name), `query` (a `TextQuery`, `ImageQuery` or `MoreLikeThis` of
`clip_search.searching.queries`), `start` (the first rank of the page), `hits` (their number), `seconds`.
"""
