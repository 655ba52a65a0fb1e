"""Ask a shop's judged queries, and measure the answers under several weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from .. import searching
from ..documents.binding import BoundDocument
from ..models import IndexEntry
from ..searching import Weights
from .judgments import Judgments
from .metrics import FIRST, ndcg, recall, reciprocal_rank

IDS_A_QUERY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one judged query, and its figures."""

    query: str
    ndcg: float
    recall: float
    reciprocal_rank: float
    is_empty: bool
    """Whether nothing was found, so that the closest products were judged instead."""
    has_right: bool
    """Whether a product that is indexed is right. Otherwise the figures are 0, and say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The answers to all judged queries under the same weights."""

    weights: Weights
    answers: Sequence[Answer]

    @property
    def judged(self) -> list[Answer]:
        """The answers to queries for which a product is right."""
        return [answer for answer in self.answers if answer.has_right]

    @property
    def ndcg(self) -> float:
        """The mean nDCG@10."""
        return _mean(answer.ndcg for answer in self.judged)

    @property
    def recall(self) -> float:
        """The mean recall@10."""
        return _mean(answer.recall for answer in self.judged)

    @property
    def reciprocal_rank(self) -> float:
        """The mean reciprocal rank of the first right product among ten."""
        return _mean(answer.reciprocal_rank for answer in self.judged)

    @property
    def empty(self) -> float:
        """The share of queries that found nothing although a product is right."""
        return _mean(float(answer.is_empty) for answer in self.judged)

    @property
    def rightly_empty(self) -> float | None:
        """The share of queries that found nothing among those for which no product is right.

        None if there are no such queries.
        """
        others = [float(answer.is_empty) for answer in self.answers if not answer.has_right]
        return fmean(others) if others else None

    def worst(self, count: int) -> list[Answer]:
        """Return the answers with the lowest nDCG@10, the lowest first."""
        return sorted(self.judged, key=lambda answer: (answer.ndcg, answer.recall, answer.query))[:count]


def _mean(values: Iterator[float]) -> float:
    each = list(values)
    return fmean(each) if each else 0.0


def unknown_products(document: BoundDocument, judgments: Judgments) -> list[str]:
    """Return the judged product ids that are not to be found in the index, sorted.

    They are those that no entry names, and those whose products were removed. A product that failed is known:
    that it cannot be found is a fault of the index.
    """
    ids = sorted({product for judged in judgments.values() for product in judged})
    known: set[str] = set()
    entries = IndexEntry.objects.of(document).exclude(state=IndexEntry.State.REMOVED)
    for start in range(0, len(ids), IDS_A_QUERY):
        points = [document.point_id(each) for each in ids[start : start + IDS_A_QUERY]]
        known.update(entries.filter(uuid__in=points).values_list("product_id", flat=True))
    return [each for each in ids if each not in known]


def evaluate(
    document: BoundDocument,
    judgments: Judgments,
    weights: Weights,
    *,
    everything: bool | None = None,
    unknown: Sequence[str] = (),
    asked: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Ask each query, and return the figures of what a shopper sees first: the results, else the closest.

    Products in `unknown` are left out of the judgments: no search can find them. `asked` is called after each
    query. Raises SearchUnavailable, ValueError for wrong weights.
    """
    gone = frozenset(unknown)
    answers = []
    for query, judged in judgments.items():
        grades = {product: grade for product, grade in judged.items() if product not in gone}
        answers.append(_answer(document, query, grades, weights, everything))
        asked()
    return Evaluation(weights=weights, answers=answers)


def _answer(
    document: BoundDocument,
    query: str,
    grades: Mapping[str, float],
    weights: Weights,
    everything: bool | None,
) -> Answer:
    hits = searching.search(document, query, weights=weights, everything=everything).hits()
    with hits.session():
        found = list(hits[:FIRST])
        shown = found or list(hits.closest[:FIRST])
    ranked = [grades.get(hit.product_id, 0.0) for hit in shown]
    return Answer(
        query=query,
        ndcg=ndcg(ranked, grades.values()),
        recall=recall(ranked, grades.values()),
        reciprocal_rank=reciprocal_rank(ranked),
        is_empty=not found,
        has_right=any(grade > 0 for grade in grades.values()),
    )
