"""The whole ranked list that answers a question, of which only the wanted ranks are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final, TypeVar

from ..documents import Document
from ..exceptions import CollectionMissing
from ..stores.base import CLIP, Condition, Found, Leg, Query
from ..types import IMAGE, TEXT
from .engine import Engine, answering, engine_of
from .questions import Question

DEPTH: Final = 1000
"""Candidates that each leg of a fused query brings, the same for every page: with a depth that grew
with the page, 1,000 points in pages of 24 showed only 555 distinct ones. Nothing lies deeper."""

Answer = TypeVar("Answer")


def highest(legs: Sequence[Leg]) -> float:
    """Return the score of what is called what was typed: no lower than any that the legs can give.

    A leg gives what is first in it a half where it weighs 1, and less than 1 whatever it weighs.
    """
    return 2.0 if len(legs) > 1 and any(leg.weight > 1 for leg in legs) else 1.0


class Ranking:
    """Exact names first, then by meaning. What holds for every page is found out once and kept.

    Every method raises SearchUnavailable.
    """

    def __init__(self, document: Document, question: Question) -> None:
        self.document = document
        self.question = question
        self._engine: Engine | None = None
        self._legs: Sequence[Leg] | None = None
        self._legs_are_known = False
        self._named: tuple[list[Found], int] = ([], 0)
        self._total: int | None = None
        self._gone: list[int] = []

    def found(self, start: int, end: int) -> list[Found]:
        """Return the ranks from `start` to before `end`, at most DEPTH, without what was left out."""
        first, last = self._rank(start), self._rank(end - 1)
        end = min(last + 1, DEPTH)
        found = self._asked(lambda: self._found(first, end)) if first < end else []
        return [one for rank, one in enumerate(found, first) if rank not in self._gone]

    def leave_out(self, ranks: Iterable[int]) -> None:
        """Pass over these ranks from now on; what is behind them moves up.

        They are not excluded in the engine: that would rank all others anew, and pages would skip some.
        """
        self._gone = sorted({*self._gone, *map(self._rank, ranks)})

    def _rank(self, rank: int) -> int:
        """Return the rank in the engine's list, where nothing is left out."""
        for gone in self._gone:
            if gone <= rank:
                rank += 1
        return rank

    def total(self) -> int:
        """Return how many ranks there are: at most DEPTH."""
        if self._total is None:
            self._total = self._asked(self._count)
        return max(self._total - len(self._gone), 0)

    def facet(self, key: str, limit: int) -> dict[str, int]:
        """Count what may be found, per value of a keyword. No model is asked: `min_score` is none of it."""
        return self._asked(lambda: self._facet(key, limit))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the collection open for several questions."""
        with answering(), ExitStack() as stack:
            self._asked(lambda: self._enter(stack))
            yield

    def _enter(self, stack: ExitStack) -> None:
        self._prepare()
        stack.enter_context(self._live.held())

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """Ask, and ask once more where a rebuild put another collection in the place of ours meanwhile."""
        with answering():
            try:
                return ask()
            except CollectionMissing:
                if self._engine is None or not self._moved(self._engine):
                    raise
            return ask()

    def _moved(self, before: Engine) -> bool:
        self._engine = engine_of(self.document)
        self._legs_are_known, self._named, self._total, self._gone = False, ([], 0), None, []
        return self._engine.collection != before.collection

    @property
    def _live(self) -> Engine:
        self._engine = self._engine or engine_of(self.document)
        return self._engine

    def _vectors(self) -> Sequence[Leg] | None:
        if not self._legs_are_known:
            self._legs = self.question.legs(self._live)
            self._legs_are_known = True
        return self._legs

    def _prepare(self) -> None:
        """Ask the model before the collection is held: others may want to use that meanwhile."""
        if self.question.embeds:
            self._vectors()

    def _found(self, start: int, end: int) -> list[Found]:
        self._prepare()
        with self._live.held():
            legs = self._vectors()
            if legs is None:
                return []
            named = [replace(found, score=highest(legs)) for found in self._called(end)]
            missing = end - max(start, len(named))
            if missing <= 0:
                return named[start:end]
            offset = max(start - len(named), 0)
            return named[start:] + self._near(legs, offset, missing, without=[f.id for f in named])

    def _called(self, end: int) -> list[Found]:
        """Return the first `end` products that are called what was typed, in the order of ids.

        A filter finds them, so they need no vector.
        """
        known, reach = self._named
        if self.question.exact and reach < end and len(known) == reach:
            named = Condition(key=f"{CLIP}.exact", operator="eq", value=self.question.exact)
            known = self._query(Query(conditions=[*self.question.conditions, named], limit=end))
            self._named = known, end
        return known[:end]

    def _near(
        self, legs: Sequence[Leg], offset: int, limit: int, without: Sequence[uuid.UUID]
    ) -> list[Found]:
        query = Query(
            legs=legs,
            conditions=self.question.conditions,
            without=without,
            offset=offset,
            limit=limit,
            depth=DEPTH,
            min_score=self.question.min_score,
        )
        return self._query(query)

    def _query(self, query: Query) -> list[Found]:
        without = [*self.question.without, *query.without]
        return self._live.store.query(self._live.collection.name, replace(query, without=without))

    def _facet(self, key: str, limit: int) -> dict[str, int]:
        question, store = self.question, self._live.store
        with self._live.held():
            legs = () if question.embeds else self._vectors()
            if legs is None:
                return {}
            using = {*question.using, *(leg.using for leg in legs)}
            having = [Condition(key=name, operator="has_vector", value=True) for name in using]
            conditions = [*question.conditions, *(having if len(having) == 1 else ())]
            name, without = self._live.collection.name, question.without
            return store.facet(name, key, conditions=conditions, without=without, limit=limit)

    def _count(self) -> int:
        self._prepare()
        with self._live.held():
            legs = self._vectors()
            if legs is None:
                return 0
            conditions = self.question.conditions
            there = self._live.store.count(self._live.collection.name, conditions=conditions)
            most = min(there, DEPTH)
            if self._finds_everything(legs) or not most or self._found(most - 1, most):
                return most
            return len(self._found(0, most))

    def _finds_everything(self, legs: Sequence[Leg]) -> bool:
        """Say whether what meets the conditions is found: not so by picture alone, where some have none."""
        question, using = self.question, {leg.using for leg in legs}
        by_any = not legs or using == {TEXT, IMAGE}
        return by_any and question.min_score is None and not question.without
