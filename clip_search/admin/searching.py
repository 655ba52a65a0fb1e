"""The search box of a change list: what Django's own search finds, and then what the index finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .. import searching
from ..documents.binding import BoundDocument
from ..searching import HitResults

if TYPE_CHECKING:
    Rows = models.QuerySet[Any]
else:
    Rows = models.QuerySet

PAGE: Final = 1000
MOST_READ: Final = 10_000
"""How many hits are read at most to find those that the filters of the list leave."""
MOST_RANKED: Final = 1000
"""The same for a search by meaning, which ranks the whole shop: later hits are not near to anything."""
ONLY_WORDS: Final = {"text": 0, "image": 0, "words": 1}


class MeaningFilter(SimpleListFilter):
    """Offers to search by meaning too. The filter itself narrows nothing."""

    title = _("kind of search")
    parameter_name = "meaning"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("1", _("Also by meaning"))]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield both ways to search, without counts: it narrows nothing."""
        for value, display in ((None, _("By words")), ("1", _("Also by meaning"))):
            query_string = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": self.value() == value, "query_string": query_string, "display": display}

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset


def is_autocompletion(request: HttpRequest) -> bool:
    """Return whether a request comes from a form field with autocompletion."""
    return request.resolver_match is not None and request.resolver_match.url_name == "autocomplete"


def nearest(
    request: HttpRequest, document: BoundDocument, text: str, rows: Rows, *, limit: int, by_meaning: bool
) -> list[Any]:
    """Return the primary keys of the first rows that the index finds among `rows`, best first.

    Without `by_meaning`, these have the words of `text`, and the model is not needed. With it, the whole shop
    is ranked. The admin may call this many times in one request, but the query is ranked only once. Raises
    SearchUnavailable.
    """
    known: dict[str, HitResults] = request.__dict__.setdefault("_clip_search_results", {})
    if text not in known:
        how = {"everything": True} if by_meaning else {"everything": False, "weights": ONLY_WORDS}
        known[text] = searching.search(document, text, **how).hits()
    found: list[Any] = []
    hits, id_field, start, size = known[text], document.declaration.id_field, 0, limit
    while start < (MOST_RANKED if by_meaning else MOST_READ):
        page = list(hits[start : start + size])
        is_last, start, size = len(page) < size, start + size, PAGE
        wanted = (hit.product_id for hit in page if by_meaning or hit.basis != "meaning")
        keys = document.keys_of(wanted)
        there = dict(rows.order_by().filter(**{f"{id_field}__in": keys}).values_list(id_field, "pk"))
        found += [there[key] for key in keys if key in there]
        if is_last or len(found) >= limit:
            break
    return found[:limit]


def combined(queryset: Rows, own: Rows, near: Sequence[Any], *, by_rank: bool) -> Rows:
    """Return the rows of Django's own search (`own`) and then those of the index (`near`), each once.

    If `by_rank` is False, they keep the order of `queryset`.
    """
    is_own = models.Q(pk__in=own.order_by().values("pk"))
    found = queryset.filter(is_own | models.Q(pk__in=near))
    if not by_rank:
        return found
    whens = [models.When(pk=key, then=rank) for rank, key in enumerate(near)]
    rank = models.Case(*whens, default=len(near), output_field=models.IntegerField())
    own_first = models.Case(models.When(is_own, then=0), default=1, output_field=models.IntegerField())
    return found.order_by(own_first, rank, *queryset.query.order_by)
