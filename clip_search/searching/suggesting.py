"""Suggest queries, products and categories for what a shopper has typed so far, without the CLIP model."""

from __future__ import annotations

import time
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise

from ..documents.binding import BoundDocument
from ..documents.fields import Keyword
from ..documents.text import fold
from ..models import IndexEntry, PostedProduct
from ..stores.base import Query, Retriever
from ..types import WORDS, FacetValue, Hit
from .facets import facets
from .finding import words_conditions
from .live_collection import LiveCollection, as_search_unavailable, get_live_collection
from .parsing import ParsedText, parse
from .vocabulary import vocabulary

LONGEST_TEXT: Final = 200
"""A longer text gets no suggestions: nobody types it while looking at them."""
MOST_SUGGESTIONS: Final = 20
CORRECTIONS: Final = 3
"""How many corrections of the last word are tried."""
COMPLETED, CORRECTED, UNFINISHED = range(3)
CATEGORY_FILTERS: Final = 2
MOST_CATEGORIES: Final = 500
"""A filter with more values, such as a product number, is no category."""
CATEGORY_SECONDS: Final = 60.0
"""How long a process keeps the values of these filters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestedCategory:
    """A value of a keyword filter, such as `filter="category"`, `value="mugs"`."""

    filter: str
    value: str
    label: str
    count: int
    """How many products of the whole shop have the value; up to a minute old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """What a search box may offer. Each list is empty if there is nothing to offer."""

    queries: tuple[str, ...] = ()
    """Queries of which the last word is completed or corrected. Each of them finds products."""
    products: tuple[Hit, ...] = ()
    """Hits with rows. A posted product without a row in the shop has its name in `payload["name"]`."""
    categories: tuple[SuggestedCategory, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A query that is suggested if a product has its words."""

    text: str
    parsed: ParsedText
    choice: int = COMPLETED
    """Candidates of a higher choice count only if those of the lower ones find nothing."""


def suggest(document: BoundDocument, text: str, *, limit: int = 8) -> Suggestions:
    """Return queries, products and categories for what a shopper has typed so far, at most `limit` of each.

    The last word is taken as the beginning of a word of the shop; if nothing is found so, it is corrected.
    The words before it are kept. A query is suggested only if a product has all its words. The suggested
    products have all words of the text or of such a query; those whose name begins with the text come first.
    The categories are values of the first two keyword filters that have at most 500 values; for each typed
    word, they have a word that begins so. `limit` is at most 20.

    The CLIP model is not used, and the store answers in one request, besides one a minute for each filter.
    Raises SearchUnavailable if the index cannot be used, and TypeError if `text` is no string.
    """
    if not isinstance(text, str | Promise):
        raise TypeError(f"Suggest for a string, not for {type(text).__name__}.")
    typed, limit = " ".join(str(text)[: LONGEST_TEXT + 1].split()), max(0, min(limit, MOST_SUGGESTIONS))
    if len(typed) > LONGEST_TEXT or not any(document.analyser.chunks(typed)) or not limit:
        return Suggestions()
    with as_search_unavailable():
        live = get_live_collection(document)
        candidates = list(_candidates(document, typed, limit)) if live.collection.has_words else []
        with live.store.session(live.collection.name):
            rankings = _rankings(live, candidates, 2 * limit)
            categories = _categories.get(document, live)
        found = [(one, ranking) for one, ranking in zip(candidates, rankings, strict=True) if ranking]
        best = min((one.choice for one, _ in found), default=COMPLETED)
        found = [(one, ranking) for one, ranking in found if one.choice == best]
        ids = dict.fromkeys(key for _, ranking in found for key in ranking)
        return Suggestions(
            queries=tuple(one.text for one, _ in found if one.text != typed)[:limit],
            products=tuple(_products(document, typed, list(ids)[: 2 * limit])[:limit]),
            categories=tuple(_matching(document, typed, categories)[:limit]),
        )


def _candidates(document: BoundDocument, typed: str, limit: int) -> Iterator[_Candidate]:
    """Yield the text as it was typed, then with its last word completed, corrected and left out."""
    yield _Candidate(text=typed, parsed=parse(document, typed))
    before, _, last = typed.rpartition(" ")
    if last.startswith("-"):  # the shopper excludes this word
        return
    words, stem = vocabulary(document), document.analyser.stem
    start = _start_of_last_run(last)
    beginning = _joined(document, last[start:])
    completions = words.completions(beginning, 2 * limit)
    is_joined = not completions and start > 0
    if is_joined:  # not "42" of "xr-42", but "xr42", which begins "xr4200"
        start, beginning = 0, _joined(document, last)
        completions = words.completions(beginning, 2 * limit)
    corrections = words.corrections(beginning, CORRECTIONS) if before or not completions else []
    # "mugs" finds nothing else than "mug" does
    seen = {stem(beginning)} if words.products(beginning) else set()
    for number, word in enumerate([*completions, *corrections]):
        if stem(word) not in seen:
            seen.add(stem(word))
            text = f"{before} {last[:start]}{word}".lstrip()
            choice = COMPLETED if number < len(completions) else CORRECTED
            # a joined code, such as "xr42002", only finds products: it is not written so in the shop
            yield _Candidate(text=typed if is_joined else text, parsed=parse(document, text), choice=choice)
    # one letter, or the beginning of "with", says nothing yet
    ignored = document.analyser.stop_words | document.analyser.fillers
    if before and (len(last) == 1 or any(word.startswith(beginning) for word in ignored)):
        yield _Candidate(text=typed, parsed=parse(document, before), choice=UNFINISHED)


def _joined(document: BoundDocument, text: str) -> str:
    return "".join(_words(document, text))


def _start_of_last_run(word: str) -> int:
    """Return where the letters and digits at the end of a word start: 2 in "t-sh", 0 in "mug"."""
    at = len(word)
    while at and (word[at - 1].isalnum() or unicodedata.category(word[at - 1]).startswith("M")):
        at -= 1
    return at


def _rankings(live: LiveCollection, candidates: Sequence[_Candidate], limit: int) -> list[list[uuid.UUID]]:
    """Return the ids of the products that have the words of each candidate, in one request to the store."""
    queries: list[list[Query]] = []
    for number, one in enumerate(candidates):
        having = words_conditions(one.parsed)
        ranked = Retriever(using=WORDS, vector=one.parsed.ranked)
        queries.append([Query(retriever=ranked, conditions=having, limit=limit)] if having else [])
        if having and not number:  # beginnings of codes, such as "sku-47", have no weight, and so no rank
            queries[-1].append(Query(conditions=having, limit=limit))
    asked = [query for each in queries for query in each]
    answers = iter(live.store.rank(live.collection.name, asked) if asked else ())
    return [[rank.id for _ in each for rank in next(answers)] for each in queries]


def _products(document: BoundDocument, typed: str, ids: Sequence[uuid.UUID]) -> list[Hit]:
    """Return the products with these point ids as hits. First come those whose name begins with the text."""
    entries = {
        uuid: (product_id, source)
        for uuid, product_id, source in IndexEntry.objects.of(document)
        .filter(uuid__in=ids)
        .values_list("uuid", "product_id", "source")
    }
    rows = document.find(document.queryset(), [product_id for product_id, _ in entries.values()])
    posted: dict[uuid.UUID, str] = {}
    if without_row := [key for key, (product_id, _) in entries.items() if product_id not in rows]:
        names = PostedProduct.objects.of(document).filter(uuid__in=without_row)
        posted = dict(names.values_list("uuid", "name"))
    first: list[Hit] = []
    others: list[Hit] = []
    for key in ids:
        product_id, source = entries.get(key, ("", ""))
        row = rows.get(product_id)
        if row is None and key not in posted:
            continue  # the product was removed or unpublished a moment ago
        name = posted[key] if row is None else str(row)
        hit = Hit(
            product_id=product_id,
            score=0.0,
            basis="words",
            payload={} if row is not None else {"name": name},
            source=source,
            instance=row,
        )
        (first if fold(name).startswith(fold(typed)) else others).append(hit)
    return first + others


class Categories:
    """The values of the keyword filters that are suggested, kept for a minute. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, str, list[SuggestedCategory]]] = {}

    def get(self, document: BoundDocument, live: LiveCollection) -> list[SuggestedCategory]:
        """Return the values of the first keyword filters with few values, the most frequent first."""
        collection = live.collection.name
        until, read_from, categories = self._kept.get(document.name, (0.0, "", []))
        if self._clock() < until and read_from == collection:
            return categories
        chosen: list[list[SuggestedCategory]] = []
        for key, field in document.declaration.filter_fields.items():
            if isinstance(field, Keyword) and len(chosen) < CATEGORY_FILTERS:
                facet = facets(
                    document,
                    live.store,
                    collection,
                    {key: None},
                    found=(),
                    filters=(),
                    limit=MOST_CATEGORIES + 1,
                )[key]
                values = list(_with_children(key, facet))
                if len(values) <= MOST_CATEGORIES:
                    chosen.append(values)
        categories = [category for each in chosen for category in each]
        self._kept[document.name] = self._clock() + CATEGORY_SECONDS, collection, categories
        return categories

    def reset(self) -> None:
        """Forget all values, so that the next suggestions read them again."""
        self._kept.clear()


def _with_children(key: str, values: Iterable[FacetValue]) -> Iterator[SuggestedCategory]:
    """Yield the values of a facet, and those below them in a tree."""
    for each in values:
        yield SuggestedCategory(filter=key, value=each.value, label=each.label, count=each.count)
        yield from _with_children(key, each.children)


def _matching(
    document: BoundDocument, typed: str, categories: Sequence[SuggestedCategory]
) -> list[SuggestedCategory]:
    """Return the categories with a word for each typed word that begins so, the most frequent first."""
    wanted = _words(document, typed)
    return sorted(
        (each for each in categories if _begin(wanted, _words(document, f"{each.label} {each.value}"))),
        key=lambda each: (-each.count, each.label),
    )


def _words(document: BoundDocument, text: str) -> list[str]:
    return [part for parts in document.analyser.chunks(text) for part in parts]


def _begin(wanted: Sequence[str], words: Sequence[str]) -> bool:
    return all(any(word.startswith(beginning) for word in words) for beginning in wanted)


_categories = Categories()


def reset_categories() -> None:
    """Forget the categories of all shops; for tests."""
    _categories.reset()
