"""Text, an image or a product → vectors → hits → model instances in rank order."""

from __future__ import annotations

import copy
import io
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from django.core.cache import cache
from django.db.models import Model

from . import images
from .documents import Document, FilterField, normalise
from .encoder import Encoder, get_encoder
from .exceptions import (
    CollectionMissing,
    ModelChanged,
    SearchTooDeep,
    SearchUnavailable,
    SetupError,
    SurroundingsError,
    UnknownFilter,
)
from .models import Collection, IndexEntry
from .stores import get_store
from .stores.base import CLIP, Condition, Found, Leg, Operator, Query, Store
from .types import IMAGE, MODEL_SOURCE, TEXT, Hit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

DEPTH = 1000
"""Candidates that each leg of a fused query brings, the same for every page: with a depth that grew
with the page, 1,000 points in pages of 24 showed only 555 distinct ones. Nothing lies deeper."""
MAX_EXACT = 100
"""How many products that are called exactly what was typed are placed first."""
CACHE_SECONDS = 3600

OPERATORS: Mapping[str, Operator] = {
    "exact": "eq",
    "in": "in",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
    "isnull": "isnull",
}
ORDERED = ("gt", "gte", "lt", "lte")
LOOKUPS: Mapping[str, Sequence[str]] = {
    "keyword": ("exact", "in", "isnull"),
    "number": ("exact", "in", "isnull", *ORDERED),
    "bool": ("exact", "isnull"),
    "date": ("exact", "isnull", *ORDERED),
}
Filters = Mapping[str, Any]


# What a host calls, through `Document`.


def search(
    document: Document,
    text: str,
    *,
    filters: Filters | None = None,
    weights: Mapping[str, float] | None = None,
) -> SearchResults:
    """Find products by words: by what they say and what they show, fused by rank.

    `weights` of "text" and "image" default to the document's. Nothing is asked before the results are
    used; then SearchUnavailable says why they cannot be had. Raises UnknownFilter.
    """
    conditions = parse_filters(document, filters)
    shares = {**document.weights, **(weights or {})}

    def legs(engine: Engine) -> list[Leg]:
        vector = text_vector(engine.encoder, text)
        return [Leg(using=name, vector=vector, weight=shares[name]) for name in (TEXT, IMAGE) if shares[name]]

    return SearchResults(document, Ask(legs=legs, conditions=conditions, exact=normalise(text)))


def search_by_image(
    document: Document,
    image: IO[bytes] | bytes,
    *,
    filters: Filters | None = None,
    min_score: float | None = None,
) -> SearchResults:
    """Find products by a photo. Raises BadImage at once, and UnknownFilter."""
    conditions = parse_filters(document, filters)
    data = images.read(io.BytesIO(image) if isinstance(image, bytes) else image)

    def legs(engine: Engine) -> list[Leg]:
        pixels = images.shrink(data, engine.encoder.image_size)
        return [Leg(using=IMAGE, vector=engine.encoder.embed_images([pixels])[0])]

    images.check(io.BytesIO(data))
    return SearchResults(document, Ask(legs=legs, conditions=conditions, min_score=min_score))


def similar_to(
    document: Document,
    product: Model | str,
    *,
    filters: Filters | None = None,
    min_score: float | None = None,
) -> SearchResults:
    """Find products like this one, by the vectors that are stored: no model is asked. Never returns itself.

    A product that is not in the index yet has no similar ones.
    """
    conditions = parse_filters(document, filters)
    product_id = (
        document.product_id(document.index_as(product)) if isinstance(product, Model) else str(product)
    )
    own = document.point_id(product_id)

    def legs(engine: Engine) -> list[Leg]:
        point = engine.store.get(engine.collection.name, [own], vectors=True).get(own)
        vectors = point.vectors if point else {}
        return [
            Leg(using=name, vector=_first_row(vectors[name])) for name in (IMAGE, TEXT) if name in vectors
        ]

    return SearchResults(document, Ask(legs=legs, conditions=conditions, without=(own,), min_score=min_score))


def _first_row(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector if vector.ndim == 1 else vector[0]


# Filters.


def parse_filters(document: Document, filters: Filters | None) -> list[Condition]:
    """Turn `{"price__lte": 20}` into conditions. Raises UnknownFilter, which lists what there is."""
    return [_condition(document, name, value) for name, value in (filters or {}).items()]


def _condition(document: Document, name: str, value: Any) -> Condition:
    key, _, lookup = name.partition("__")
    field = document.filter_fields.get(key)
    if field is None:
        known = ", ".join(sorted(document.filter_fields)) or "none"
        raise UnknownFilter(f"{document.name!r} declares no filter {key!r}. There are: {known}.")
    lookup = lookup or "exact"
    if lookup not in LOOKUPS[field.kind]:
        known = ", ".join(LOOKUPS[field.kind])
        raise UnknownFilter(f"{key!r} is a {field.kind} and has no lookup {lookup!r}. There are: {known}.")
    return Condition(key=key, operator=OPERATORS[lookup], value=_value(name, field, lookup, value))


def _value(name: str, field: FilterField, lookup: str, value: Any) -> Any:
    try:
        if lookup == "in":
            return [field.coerce(item) for item in value]
        return bool(value) if lookup == "isnull" else field.coerce(value)
    except (TypeError, ValueError) as error:
        raise UnknownFilter(f"{name!r} cannot be filtered by {value!r}: {error}") from error


# Asking the engine.


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What answers: the live collection, its store and the model that built it."""

    collection: Collection
    store: Store
    encoder: Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked, before anything was embedded."""

    legs: Callable[[Engine], Sequence[Leg]]
    conditions: Sequence[Condition] = ()
    without: Sequence[uuid.UUID] = ()
    exact: str = ""
    min_score: float | None = None


@contextmanager
def answering() -> Iterator[None]:
    """Turn what keeps search from answering into SearchUnavailable, the cause and the remedy kept."""
    try:
        yield
    except (SurroundingsError, SetupError) as error:
        logger.warning("Search is unavailable error=%s", error)
        raise SearchUnavailable(str(error)) from error


def engine_of(document: Document) -> Engine:
    """Return what answers for a document. Raises CollectionMissing, ModelChanged."""
    encoder = get_encoder()
    collection = Collection.objects.of(document).filter(state=Collection.State.LIVE).first()
    if collection is None:
        raise CollectionMissing(
            f"Nothing of {document.name!r} is indexed yet. Run `manage.py clip_reindex {document.name}`."
        )
    if collection.fingerprint != encoder.fingerprint:
        raise ModelChanged
    return Engine(collection=collection, store=get_store(), encoder=encoder)


def text_vector(encoder: Encoder, text: str) -> NDArray[np.float32]:
    """Embed a query's text, float32 (dim,), or take it from Django's cache."""
    import numpy as np

    words = " ".join(text.split())
    key = f"clip_search:{encoder.fingerprint}:{uuid.uuid5(uuid.NAMESPACE_URL, words)}"
    cached = cache.get(key)
    if isinstance(cached, bytes):
        return np.frombuffer(cached, dtype=np.float32)
    vector: NDArray[np.float32] = encoder.embed_texts([words])[0]
    cache.set(key, vector.tobytes(), CACHE_SECONDS)
    return vector


class SearchResults:
    """Products in rank order, lazy: nothing is asked until they are used.

    A slice is a SearchResults again, and its bounds reach the engine. Iterating gives model instances,
    each with `search_score`; `hits()` gives `Hit` values without touching the shop's rows. Works in
    Django's Paginator and DRF's pagination. Using it raises SearchUnavailable, or SearchTooDeep.
    """

    def __init__(self, document: Document, ask: Ask, start: int = 0, stop: int | None = None) -> None:
        self.document = document
        self._ask = ask
        self._start = start
        self._stop = stop
        self._engine: Engine | None = None
        self._legs: Sequence[Leg] | None = None
        self._exact: list[Found] | None = None
        self._instances: list[Any] | None = None

    def __repr__(self) -> str:
        return f"<SearchResults of {self.document.name!r} from {self._start} to {self._stop}>"

    def __iter__(self) -> Iterator[Any]:
        if self._instances is None:
            with answering():
                self._instances = self._load()
        return iter(self._instances)

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return self._slice(key)
        if key < 0:
            raise ValueError("Negative indexing is not supported: the end of a ranking is not known.")
        for instance in self._slice(slice(key, key + 1)):
            return instance
        raise IndexError("There are not so many results.")

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return bool(self[:1].hits())

    def _slice(self, key: slice) -> SearchResults:
        if key.step is not None or (key.start or 0) < 0 or (key.stop or 0) < 0:
            raise ValueError("Slice results forwards, without a step.")
        stop = self._stop if key.stop is None else self._start + key.stop
        if self._stop is not None and stop is not None:
            stop = min(stop, self._stop)
        part = copy.copy(self)
        part._start, part._stop, part._instances = self._start + (key.start or 0), stop, None
        return part

    def count(self) -> int:
        """Return how many there are to page through: never more than DEPTH."""
        with answering():
            if not self._vectors() or self._ask.min_score is not None:
                found = len(self._found(self._start, self._end()))
            else:
                store, name = self._live.store, self._live.collection.name
                everything = store.count(name, conditions=self._ask.conditions) - len(self._ask.without)
                found = min(everything, self._end()) - self._start
        return max(found, 0)

    def hits(self) -> list[Hit]:
        """Return the hits, without the shop's rows."""
        with answering():
            return [_hit(found) for found in self._found(self._start, self._end())]

    def facet(self, key: str, *, limit: int = 100) -> dict[str, int]:
        """Count the products that meet the filters, per value of a keyword. Raises UnknownFilter."""
        field = self.document.filter_fields.get(key)
        if field is None or field.kind != "keyword":
            known = ", ".join(
                sorted(k for k, f in self.document.filter_fields.items() if f.kind == "keyword")
            )
            raise UnknownFilter(f"{key!r} is no keyword filter. There are: {known or 'none'}.")
        with answering():
            return self._live.store.facet(
                self._live.collection.name, key, conditions=self._ask.conditions, limit=limit
            )

    @property
    def _live(self) -> Engine:
        self._engine = self._engine or engine_of(self.document)
        return self._engine

    def _vectors(self) -> Sequence[Leg]:
        if self._legs is None:
            self._legs = self._ask.legs(self._live)
        return self._legs

    def _end(self) -> int:
        return DEPTH if self._stop is None else self._stop

    def _load(self) -> list[Any]:
        """Return the instances, in order; a hit whose row is gone is replaced by the next one."""
        end, instances, position = self._end(), [], self._start
        wanted = end - position
        while len(instances) < wanted and position < DEPTH:
            found = self._found(position, min(position + wanted - len(instances), DEPTH))
            if not found:
                break
            position += len(found)
            instances += self._resolve(found)
        return instances

    def _resolve(self, found: Sequence[Found]) -> list[Any]:
        """Return the rows of hits; what is in the index and not in the shop any more is raised."""
        rows = self.document.resolve([f.stamp.product_id for f in found])
        orphans = [f for f in found if f.stamp.product_id not in rows and f.stamp.source == MODEL_SOURCE]
        if orphans:
            # the sweep finds them: a page that is shown to a shopper waits for no queue
            IndexEntry.objects.raise_revision(self.document, [f.stamp.product_id for f in orphans])
        instances = []
        for one in found:
            if (row := rows.get(one.stamp.product_id)) is not None:
                row.search_score = one.score
                instances.append(row)
        return instances

    def _found(self, start: int, end: int) -> list[Found]:
        """Ask the engine for the ranks from `start` to `end`: exact names first, then by meaning."""
        if end > DEPTH or start > DEPTH:
            raise SearchTooDeep(f"Results end at {DEPTH}: {end} was asked for. Filter, or ask for fewer.")
        legs = self._vectors()
        if not legs or end <= start:
            return []
        first = self._exactly(legs)
        found = first[start:end]
        rest = Query(
            legs=legs,
            conditions=self._ask.conditions,
            without=[*self._ask.without, *(f.id for f in first)],
            offset=max(start - len(first), 0),
            limit=end - max(start, len(first)),
            depth=DEPTH,
            min_score=self._ask.min_score if len(legs) == 1 else None,
        )
        return found + self._query(rest) if rest.limit > 0 else found

    def _exactly(self, legs: Sequence[Leg]) -> list[Found]:
        """Return the products that are called what was typed, the most relevant first."""
        if self._exact is None:
            named = Condition(key=f"{CLIP}.exact", operator="eq", value=self._ask.exact)
            query = Query(legs=legs, conditions=[*self._ask.conditions, named], limit=MAX_EXACT, depth=DEPTH)
            self._exact = self._query(query) if self._ask.exact else []
        return self._exact

    def _query(self, query: Query) -> list[Found]:
        return self._live.store.query(self._live.collection.name, query)


def _hit(found: Found) -> Hit:
    payload = {key: value for key, value in found.payload.items() if key != CLIP}
    return Hit(
        product_id=found.stamp.product_id, score=found.score, payload=payload, source=found.stamp.source
    )
