"""Django signals that this package sends. If a receiver raises, Django logs the error, and the work goes on.

The sender is the document class, so a receiver can be connected for one document::

    @receiver(indexed, sender=ProductDocument)
    def purge_page_cache(sender, product_ids, **kwargs): ...
"""

from __future__ import annotations

from django.dispatch import Signal

indexed = Signal()
"""Sent when products were written to the index, or were found to be up to date there.

Arguments: `document` (its name), `product_ids`.
"""

index_failed = Signal()
"""Sent when products cannot be indexed as they are.

Arguments: `document` (its name), `errors` (a dict of messages by product id).
"""

search_performed = Signal()
"""Sent when a page of search results was read from the store.

Arguments: `document` (its name), `query` (a `TextQuery`, `ImageQuery` or `MoreLikeThis` of
`clip_search.searching.queries`), `start` (the first rank of the page), `hits` (the number of hits on the
page), `seconds`.
"""
