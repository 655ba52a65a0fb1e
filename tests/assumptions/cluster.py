"""What is assumed of a cluster, while one of its nodes is stopped and afterwards.

The node of the last address is stopped once, and started again. What was seen meanwhile is kept in an
`Outage`, and each assumption is about one part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from qdrant_client import models

from clip_search.exceptions import StoreRefused
from clip_search.stores.server_errors import client_errors

from .trial import NAMES, NotTried, Refusal, Trial, assumption, expect, point, revisions, size, write

ALL = models.ReadConsistencyType.ALL
STORED = range(1, 11)
WRITTEN = (1, 2, 3, 4, 5, 11, 12)
"""The points of the refused write: some replace a stored one, others are new."""
PATIENCE = 120.0
"""Seconds until a node that was started again must answer with the others."""


@dataclass
class Outage:
    """What a cluster did while a node was stopped, and after it was started again."""

    refused: Refusal
    living: dict[int, int]
    """The revisions that a living node returned after it had refused to write them."""
    all_replicas: Refusal
    accepted: set[int] = field(default_factory=set)
    """Points of a collection without replicas that were written one by one."""
    dead: set[int] = field(default_factory=set)
    batch: Refusal | None = None
    """How the request with all of these points was refused."""
    creating: Refusal | None = None
    """How the creation of a collection was refused; None if it was not."""
    agreed: dict[int, int] = field(default_factory=dict)
    """The revisions that all replicas agreed on when the node was back."""
    again: dict[int, int] = field(default_factory=dict)
    """The same after the refused write had been sent again."""
    recreated: str = ""
    """What went wrong when the collection was created again."""


def several(trial: Trial) -> None:
    if len(trial.urls) < 2:
        raise NotTried("needs the addresses of at least two nodes of a cluster")


def outage(trial: Trial) -> Outage:
    """Stop the last node and return what was seen, from memory after the first time."""
    several(trial)
    if not (trial.stop and trial.start):
        raise NotTried("needs --ask, or --stop-command and --start-command")
    if trial.outage is None:
        trial.outage = NotTried("the attempt failed; see the first line about a stopped node")
        trial.outage = observed(trial, trial.stop, trial.start)
    if isinstance(trial.outage, NotTried):
        raise trial.outage
    return trial.outage


def observed(trial: Trial, stop: Callable[[], None], start: Callable[[], None]) -> Outage:
    nodes = len(trial.urls)
    first = trial.first
    kept = {"replication_factor": nodes, "write_consistency_factor": nodes}
    replicated = trial.collection(shard_number=1, **kept)
    sharded = trial.collection(shard_number=2 * nodes, replication_factor=1)
    write(first, replicated, [point(number) for number in STORED])
    newer = [point(number, 2) for number in WRITTEN]
    other = f"{NAMES}made-while-a-node-is-stopped"
    trial.made.append(other)

    def create() -> None:
        first.create_collection(other, vectors_config={"text": size(), "image": size()}, **kept)

    stop()
    try:
        seen = Outage(
            refused=trial.refusal(lambda: write(first, replicated, newer), replicated),
            living=revisions(first, replicated),
            all_replicas=trial.refusal(lambda: revisions(first, replicated, consistency=ALL), replicated),
        )
        for number in range(1, 4 * nodes + 1):
            refused = attempt(lambda number=number: write(first, sharded, [point(number)]))
            (seen.dead if refused else seen.accepted).add(number)
        seen.batch = attempt(lambda: write(first, sharded, [point(n, 2) for n in range(1, 4 * nodes + 1)]))
        seen.creating = attempt(create)
    finally:
        start()
    seen.agreed = wait_for_all(trial, replicated)
    write(first, replicated, newer)
    seen.again = revisions(first, replicated, consistency=ALL)
    refused = attempt(create)
    if refused and "already exists" not in refused.message:
        seen.recreated = str(refused)
    else:
        write(first, other, [point(1)])
    return seen


def attempt(call: Callable[[], object]) -> Refusal | None:
    """Make a call. Return how the server refused it, or None."""
    try:
        call()
    except client_errors() as error:
        return Refusal.of(error)
    return None


def wait_for_all(trial: Trial, collection: str) -> dict[int, int]:
    """Return what all replicas agree on, when every node answers again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            for client in trial.clients:
                client.get_collections()
            return revisions(trial.first, collection, consistency=ALL)
        except client_errors():
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@assumption
def every_node_knows_a_collection_at_once(trial: Trial) -> None:
    """A collection that one node has made is there for every other node when the answer arrives.

    Relied on by clip_search.stores.server, which sends each request to any node that lives.
    """
    several(trial)
    name = trial.collection()
    for number, client in enumerate(trial.clients):
        expect(client.collection_exists(name), f"no collection at {trial.urls[number]}")


@assumption
def every_node_reads_what_one_has_written(trial: Trial) -> None:
    """A point is written by any node and read by any other, whichever node has its shard.

    Relied on by clip_search.stores.server.
    """
    several(trial)
    name = trial.collection(replication_factor=len(trial.urls), write_consistency_factor=len(trial.urls))
    for number, client in enumerate(trial.clients, 1):
        write(client, name, [point(number)])
    right = dict.fromkeys(range(1, len(trial.urls) + 1), 1)
    for number, client in enumerate(trial.clients):
        got = revisions(client, name)
        expect(got == right, f"{got} from {trial.urls[number]}")


@assumption
def a_write_that_misses_a_replica_is_refused_with_the_reason(trial: Trial) -> str:
    """With `write_consistency_factor` of all replicas and one of them dead, a write is 500 with a message.

    Relied on by clip_search.stores.server_errors: such a write is a StoreRefused.
    """
    refused = outage(trial).refused
    expect(refused.kind is StoreRefused, refused)
    return str(refused)


@assumption
def a_refused_write_has_been_applied_on_living_replicas(trial: Trial) -> None:
    """A living node returns what it has refused to write.

    Relied on by clip_search.indexing.writing, which takes no point of a refused write for indexed.
    """
    living = outage(trial).living
    expect(all(living.get(number) == 2 for number in WRITTEN), living)


@assumption
def consistency_all_is_refused_while_a_replica_is_dead(trial: Trial) -> str:
    """A read of all replicas is 500 then, and a read without a consistency is answered.

    Relied on by clip_search.indexing.comparing, which then compares with what one replica has, and says so.
    """
    refused = outage(trial).all_replicas
    expect(refused.kind is StoreRefused, refused)
    return str(refused)


@assumption
def points_whose_replicas_disagree_are_left_out(trial: Trial) -> str:
    """The node that was dead is not brought up to date, and consistency `all` leaves these points out.

    Relied on by clip_search.indexing.comparing, which writes such points again.
    """
    agreed = outage(trial).agreed
    right = {number: 1 for number in STORED if number not in WRITTEN}
    expect(agreed == right, f"{agreed}, should be {right}")
    return f"{len(right)} of {len({*STORED, *WRITTEN})} points read"


@assumption
def the_same_write_again_brings_replicas_up_to_date(trial: Trial) -> None:
    """Each replica judges the condition by itself: it takes what it misses and refuses what it has.

    Relied on by clip_search.indexing.writing, which writes again, whole, what was refused.
    """
    again = outage(trial).again
    right = {number: 2 if number in WRITTEN else 1 for number in {*STORED, *WRITTEN}}
    expect(again == right, f"{again}, should be {right}")


@assumption
def living_shards_accept_their_points(trial: Trial) -> str:
    """A request with points of a dead shard is refused; those of living shards are accepted alone.

    Relied on by clip_search.indexing.writing, which halves a refused batch.
    """
    seen = outage(trial)
    if not seen.dead:
        raise NotTried("no shard was on the stopped node")
    expect(seen.accepted, "no point accepted")
    expect(seen.batch and seen.batch.kind is StoreRefused, seen.batch)
    return f"{len(seen.accepted)} accepted, {len(seen.dead)} refused; {seen.batch}"


@assumption
def a_collection_whose_creation_failed_can_be_created_again(trial: Trial) -> str:
    """Creation may fail after the collection was made: then it exists, or the same name is accepted again.

    Relied on by clip_search.indexing.collections, which tries again under the same name.
    """
    seen = outage(trial)
    expect(not seen.recreated, seen.recreated)
    return f"the creation had been refused: {seen.creating}" if seen.creating else "it had not been refused"
