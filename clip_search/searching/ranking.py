"""The whole ranked list that answers a query, of which only the wanted ranks are read from the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final, TypeVar

from ..documents.binding import BoundDocument
from ..exceptions import CollectionMissing
from ..stores import base
from ..stores.base import CLIP, Condition, Retriever, ScoredPoint
from ..types import IMAGE, TEXT
from .engine import Engine, answering, get_engine
from .queries import ImageQuery, Query, TextQuery
from .retrieval import get_retrievers

DEPTH: Final = 1000
"""Candidates that each retriever of a fused query returns, the same for every page: with a depth that grew
with the page, 1,000 points in pages of 24 showed only 555 distinct ones. Results end at this rank."""
EXACT_SCORE: Final = 1.0
"""The score of an exact match: an upper bound on any fused score, so that exact matches sort first."""

HAS_ROW: Final = Condition(key=f"{CLIP}.without_row", operator="eq", value=True, negated=True)

Answer = TypeVar("Answer")


class Ranking:
    """Exact names first, then by meaning. What every page needs is found out once and kept.

    Posted products without a row in the shop are left out, unless it is `with_posted`. Every method raises
    SearchUnavailable.
    """

    def __init__(self, document: BoundDocument, query: Query, *, with_posted: bool = False) -> None:
        self.document = document
        self.query = query
        self.is_with_posted = with_posted
        self._conditions = [*query.conditions, *(() if with_posted else [HAS_ROW])]
        self._reset(None)

    def of(self, query: Query, *, with_posted: bool | None = None) -> Ranking:
        """Return the ranking of a query that differs in its conditions: it is not embedded again."""
        with_posted = self.is_with_posted if with_posted is None else with_posted
        ranking = Ranking(self.document, query, with_posted=with_posted)
        ranking._engine, ranking._retrievers = self._engine, self._retrievers
        ranking._is_prepared = self._is_prepared
        return ranking

    def _reset(self, engine: Engine | None) -> None:
        """Forget everything that depends on the collection."""
        self._engine = engine
        self._retrievers: Sequence[Retriever] | None = None
        self._is_prepared = False
        self._exact: tuple[list[ScoredPoint], int] = ([], 0)
        self._total: int | None = None
        self._gone: list[int] = []

    def page(self, start: int, end: int) -> list[ScoredPoint]:
        """Return the ranks from `start` to before `end`, at most DEPTH, without those that were left out."""
        first, end = self._store_rank(start), min(self._store_rank(end - 1) + 1, DEPTH)
        found = self._ask(lambda: self._page(first, end)) if first < end else []
        return [point for rank, point in enumerate(found, first) if rank not in self._gone]

    def leave_out(self, ranks: Iterable[int]) -> None:
        """Skip these ranks from now on; those behind them move up.

        They are not excluded in the store: that would rank all others anew, and pages would skip some.
        """
        self._gone = sorted({*self._gone, *map(self._store_rank, ranks)})

    def _store_rank(self, rank: int) -> int:
        """Return the rank in the store's list, in which nothing is left out."""
        for gone in self._gone:
            if gone <= rank:
                rank += 1
        return rank

    def total(self) -> int:
        """Return how many ranks there are: at most DEPTH."""
        if self._total is None:
            self._total = self._ask(self._count)
        return max(self._total - len(self._gone), 0)

    def facet(self, key: str, limit: int) -> dict[str, int]:
        """Count what can be found for each value of a keyword. No model is used, and no `min_score`."""
        return self._ask(lambda: self._facet(key, limit))

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep the collection open for several questions."""
        with answering(), ExitStack() as stack:
            self._ask(lambda: stack.enter_context(self._opened()))
            yield

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        """Return the answer; ask once more if a rebuild has just replaced our collection by another one."""
        with answering():
            try:
                return ask()
            except CollectionMissing:
                before = self._engine
                if before is None:
                    raise
                self._reset(get_engine(self.document))
                if self._engine is None or self._engine.collection == before.collection:
                    raise
            return ask()

    @contextmanager
    def _opened(self) -> Iterator[Engine]:
        """Open the live collection. The model is used before that, so that others need not wait for it."""
        engine = self._engine = self._engine or get_engine(self.document)
        if self.query.needs_model:
            self._prepare(engine)
        with engine.store.session(engine.collection.name):
            yield engine

    def _prepare(self, engine: Engine) -> Sequence[Retriever] | None:
        """Return what to search near, None to find nothing. The query is embedded the first time."""
        if not self._is_prepared:
            self._retrievers = get_retrievers(self.document, engine, self.query)
            self._is_prepared = True
        return self._retrievers

    def _page(self, start: int, end: int) -> list[ScoredPoint]:
        with self._opened() as engine:
            retrievers = self._prepare(engine)
            if retrievers is None:
                return []
            exact = self._exact_matches(engine, end)
            missing = end - max(start, len(exact))
            if missing <= 0:
                return exact[start:end]
            near = base.Query(
                retrievers=retrievers,
                conditions=self._conditions,
                exclude=[*self.query.exclude, *(point.id for point in exact)],
                offset=max(start - len(exact), 0),
                limit=missing,
                depth=DEPTH,
                min_score=self.query.min_score,
            )
            return exact[start:] + engine.store.query(engine.collection.name, near)

    def _exact_matches(self, engine: Engine, end: int) -> list[ScoredPoint]:
        """Return the first `end` products whose exact name was searched for, in the order of ids."""
        known, reach = self._exact
        if self.query.exact and reach < end and len(known) == reach:
            name = Condition(key=f"{CLIP}.exact", operator="eq", value=self.query.exact)
            query = base.Query(conditions=[*self._conditions, name], exclude=self.query.exclude, limit=end)
            found = engine.store.query(engine.collection.name, query)
            known = [replace(point, score=EXACT_SCORE) for point in found]
            self._exact = known, end
        return known[:end]

    def _facet(self, key: str, limit: int) -> dict[str, int]:
        engine = self._engine = self._engine or get_engine(self.document)
        with engine.store.session(engine.collection.name):
            using = self._vectors_used(engine)
            if using is None:
                return {}
            conditions = [*self._conditions]
            if len(using) == 1:
                conditions.append(Condition(key=next(iter(using)), operator="has_vector", value=True))
            return engine.store.facet(
                engine.collection.name, key, conditions=conditions, exclude=self.query.exclude, limit=limit
            )

    def _vectors_used(self, engine: Engine) -> set[str] | None:
        """Return the names of the vectors that are searched; none finds everything, None nothing."""
        if isinstance(self.query, TextQuery):
            return {name for name, weight in self.query.weights.items() if weight and self.query.words}
        if isinstance(self.query, ImageQuery):
            return {IMAGE}
        retrievers = self._prepare(engine)
        return None if retrievers is None else {retriever.using for retriever in retrievers}

    def _count(self) -> int:
        with self._opened() as engine:
            retrievers = self._prepare(engine)
            if retrievers is None:
                return 0
            most = min(engine.store.count(engine.collection.name, conditions=self._conditions), DEPTH)
            by_any = not retrievers or {retriever.using for retriever in retrievers} == {TEXT, IMAGE}
            finds_everything = by_any and self.query.min_score is None and not self.query.exclude
            # a search by picture alone does not find products without one
            if finds_everything or not most or self._page(most - 1, most):
                return most
            return len(self._page(0, most))
