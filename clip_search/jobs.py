"""Asking for work, and the RQ function that does it. A job is a wake-up call: it carries no content."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections, transaction

from . import indexing, reindexing
from .conf import conf
from .documents import Document, registry
from .encoder import SMALLEST_BATCH
from .exceptions import ClipSearchError, SurroundingsError, in_one_line
from .models import ROWS_PER_STATEMENT, IndexEntry, RelatedChange
from .stores import get_store
from .types import MODEL_SOURCE, Report

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

SECONDS_A_JOB = 20.0
"""RQ's SimpleWorker sends no heartbeat during a job, so jobs are short and enqueue the rest."""
JOB_TIMEOUT = 600
"""Seconds after which RQ kills a job: far above `SECONDS_A_JOB`, for a first batch that loads a model."""
FAILURE_TTL = 7 * 24 * 3600
"""Seconds that RQ keeps a job that failed, traceback and all; its default is a year."""
SECONDS_TO_FINISH = 5.0
"""After a request to stop, a batch under way may finish this long; then it is released."""
CONNECT_TIMEOUT = 0.25
ANSWER_TIMEOUT = 0.5
PAUSE_AFTER_FAILURE = 5.0
"""Seconds without another try after Redis did not answer: the sweep finds what was not announced."""


class Stopping:
    """Whether this process was asked to stop, and since when."""

    def __init__(self) -> None:
        self._since: float | None = None

    def request(self) -> None:
        """Ask for no more work."""
        self._since = self._since or time.monotonic()

    def reset(self) -> None:
        """Take the request back, as tests do."""
        self._since = None

    def requested(self) -> bool:
        """Say whether no more work is to be claimed."""
        return self._since is not None

    def urgent(self) -> bool:
        """Say whether what is under way is to be dropped."""
        return self._since is not None and time.monotonic() - self._since > SECONDS_TO_FINISH


stopping = Stopping()


class Team:
    """How many workers there are for the same queue, this process included."""

    workers: int = 1


team = Team()


# Asking for work.


def request(
    document: Document, product_ids: Iterable[str], *, source: str = MODEL_SOURCE, wake: bool = True
) -> int:
    """Have these products indexed, once the transaction commits. Returns how many there are.

    Who indexes them itself, or wakes a worker itself, says `wake=False`.
    """
    ids = list(dict.fromkeys(product_ids))
    if len(ids) > ROWS_PER_STATEMENT and source == MODEL_SOURCE:
        request_related(document, wake=wake, product_ids=ids)  # one statement; a worker raises the entries
    elif ids:
        IndexEntry.objects.raise_revision(document, ids, source=source)
        if wake:
            wake_on_commit(document, ids)
    return len(ids)


def request_related(document: Document, *, wake: bool = True, **change: Any) -> None:
    """Remember a change that touches products which a worker will find. See `RelatedChange`."""
    RelatedChange.objects.using(document.using).create(document=document.name, **change)
    if wake:
        wake_on_commit(document)


class Waking:
    """One wake-up for everything that a transaction raised.

    Every raise registers `run`, because a savepoint that rolls back takes its callbacks along; the
    first that is called does the work of all.
    """

    def __init__(self) -> None:
        self.raised: dict[str, set[str]] = {}
        self.done = False

    def run(self) -> None:
        """Wake a worker, or index here where no queue is set."""
        if self.done:
            return
        self.done = True
        for name, product_ids in self.raised.items():
            document = registry.get(name)
            if document and conf.queue:
                wake(document)
            elif document:
                index_here(document, product_ids)


def wake_on_commit(document: Document, product_ids: Iterable[str] = ()) -> None:
    """Wake a worker for this document when the transaction commits, once per transaction."""
    hooks = (hook[1] for hook in reversed(connections[document.using].run_on_commit))
    registered = (getattr(hook, "__self__", None) for hook in hooks)
    # what a rollback has taken along is not registered any more, and wakes nobody
    waking = next((hook for hook in registered if isinstance(hook, Waking)), None) or Waking()
    waking.raised.setdefault(document.name, set()).update(product_ids)
    transaction.on_commit(waking.run, using=document.using, robust=True)


def index_here(document: Document, product_ids: Iterable[str]) -> None:
    """Index in this process, as `QUEUE = None` asks. What fails is logged, and due as before."""
    try:
        expanded = reindexing.expand_related(document)
        _index(document, [*product_ids, *expanded])
    except (ClipSearchError, DatabaseError) as error:
        logger.error("Cannot index document=%s error=%s", document.name, in_one_line(error))


def index_now(document: Document, product_id: str, *, timeout: float = 5.0) -> IndexEntry:
    """Index one product here, waiting if a worker holds it, and return its entry as it is then.

    Raises SurroundingsError or SetupError; the product is then still due.
    """
    deadline = time.monotonic() + timeout
    rows = IndexEntry.objects.of(document).filter(uuid=document.point_id(product_id))
    while True:
        _index(document, [product_id])
        entry = rows.get()
        if entry.state != IndexEntry.State.PENDING or time.monotonic() > deadline:
            return entry
        time.sleep(0.05)


def _index(document: Document, product_ids: Sequence[str]) -> None:
    """Index these products here, with the embedded store opened once: that takes longer than their texts."""
    with get_store().kept():
        for _ in indexing.index_due(document, product_ids=product_ids):
            pass


# The queue.

_silent_until: dict[str, float] = {}


def wake(document: Document) -> bool:
    """Enqueue a wake-up. Returns whether Redis took it: if not, the row still says what to do."""
    from redis.exceptions import RedisError

    name = conf.queue or ""
    if time.monotonic() < _silent_until.get(name, 0.0):
        return False
    try:
        queue = get_queue(name)
        with queue.connection.pipeline() as pipeline:  # by itself, RQ would ask Redis twice
            queue.enqueue(
                "clip_search.jobs.index_due",
                document.name,
                result_ttl=0,
                failure_ttl=FAILURE_TTL,
                job_timeout=JOB_TIMEOUT,
                pipeline=pipeline if queue.is_async else None,  # otherwise the job runs here and now
            )
            pipeline.execute()
    except RedisError as error:
        _silent_until[name] = time.monotonic() + PAUSE_AFTER_FAILURE
        logger.warning(
            "Cannot enqueue, a worker's sweep will find it queue=%s error=%s", name, in_one_line(error)
        )
        return False
    return True


def get_queue(name: str) -> Any:
    """Return the django-rq queue of that name, on a connection that fails fast."""
    import django_rq

    # a digest, because a configuration may hold a password, and error pages show variables
    config = hash(json.dumps(settings.RQ_QUEUES[name], default=repr, sort_keys=True))
    connection = _connection(name, config)
    return django_rq.get_queue(name, connection=connection, commit_mode="auto")


@lru_cache(maxsize=8)
def _connection(name: str, _config: int) -> Redis:
    """Return a connection without retries: with redis-py's own, a save would take 4 s while Redis is down."""
    from django_rq.connection_utils import get_connection
    from redis import ConnectionPool, Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from redis.sentinel import SentinelConnectionPool

    quick = {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": ANSWER_TIMEOUT,
    }
    connection = get_connection(name)
    pool = connection.connection_pool
    if isinstance(pool, SentinelConnectionPool):  # made for us, and only it knows how to find the master
        for client in (connection, *pool.sentinel_manager.sentinels):
            client.connection_pool.connection_kwargs.update(quick)
        return connection
    if type(pool) is not ConnectionPool:
        return connection
    options = pool.connection_kwargs | quick
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options))


# The work.


def index_due(document_name: str) -> None:
    """Index what is due of a document, for a while; if there is more, other workers are woken too."""
    document = registry.get(document_name)
    if document is None:
        logger.warning("No such document any more document=%s", document_name)
        return
    shift = Shift(document)
    try:
        reindexing.expand_related(document, goes_on=lambda: not shift.over)
        for report in indexing.index_due(document, claiming=shift.next_batch, abandon=stopping.urgent):
            shift.report += report
        shift.hand_over()
    except indexing.Stopped:
        logger.info("Stopped, what was under way is given back document=%s", document_name)
        shift.hand_over()
    except (SurroundingsError, DatabaseError) as error:
        logger.warning(
            "Cannot index now, will try again document=%s error=%s", document_name, in_one_line(error)
        )
    if products := shift.report.products:
        logger.info("Indexed document=%s products=%d seconds=%.2f", document_name, products, shift.seconds)


class Shift:
    """The time that one job works."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.report = Report()
        self._started = time.monotonic()
        self._claims = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def next_batch(self) -> int:
        """Return how many products to claim next, 0 for no more; asked before each batch.

        After the first one, what is left is announced once: to a worker that is idle, or to whoever
        takes over when this shift ends.
        """
        self._claims += 1
        if self._claims == 2:
            self._announce()
        return 0 if self.over else fair_share(self.document)

    @property
    def over(self) -> bool:
        """Say whether no more is claimed, whatever there is."""
        return stopping.requested() or self.seconds >= SECONDS_A_JOB

    def hand_over(self) -> None:
        """Announce what is left, if this shift leaves anything: what was saved meanwhile announced itself
        too early, while this shift held it."""
        if self.over:
            self._announce()

    def _announce(self) -> None:
        if _something_is_due(self.document):
            wake(self.document)


def fair_share(document: Document) -> int:
    """Return how many products this worker should claim at once: the fewer are left, the fewer.

    Otherwise one would sit on what the others, idle by then, could do. It is guided self-scheduling
    (Polychronopoulos & Kuck, IEEE Transactions on Computers C-36, 1987) with two batches under way.
    """
    if team.workers == 1:
        return indexing.BATCH
    shares = indexing.AHEAD * team.workers
    due = IndexEntry.objects.of(document).due()[: shares * indexing.BATCH].count()
    return max(SMALLEST_BATCH, due // shares)


def sweep() -> int:
    """Wake a worker for every document of which something is due. Returns for how many."""
    return sum(wake(document) for document in registry if _something_is_due(document))


def _something_is_due(document: Document) -> bool:
    changes = RelatedChange.objects.using(document.using).filter(document=document.name)
    try:
        return IndexEntry.objects.of(document).due().exists() or changes.exists()
    except DatabaseError as error:  # the other documents may live on another database
        logger.warning("Cannot sweep document=%s error=%s", document.name, in_one_line(error))
        return False
