"""A fake of a Qdrant cluster: the stub of a server with several replicas, nodes that fail, and lost shards.

It is no Qdrant. It assumes what was seen on a cluster of three nodes of version 1.18.3:

* Each node has a replica of everything. Reads are answered by one living node, and by another one next time.
* A write is carried out on every node that can; each judges the condition of a conditional write by itself.
  If a node cannot, the answer is 500, as with a `write_consistency_factor` of the number of nodes. Nothing is
  undone, and nothing is copied later to the node that missed the write.
* With `consistency=all`, points whose replicas disagree are left out. If a node is down, the answer is 500.
* If a shard is lost, a request that concerns one of its points is answered with 500. The points of other
  shards are written nevertheless. Of a collection with a `replication_factor` of 1, the shards of a node are
  lost while it is down.

Collections are created on all nodes, whatever their state. The cluster has one address, a `Node` another.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from qdrant_client import models

from .qdrant_memory import QdrantMemory
from .qdrant_stub import COLLECTION, StubQdrant, running

READS = {"points", "points/scroll", "points/query/batch", "points/count", "facet"}
WRITES = {"points/batch", "points/delete"}
REFUSED = (
    "Service internal error: 1 out of 1 shards failed to apply operation. First error captured: "
    "Service internal error: Failed to apply operation to at least {} `write_consistency_factor` replicas. "
    "Confirmed by {} replicas."
)
Snapshot = Mapping[str, list[models.PointStruct]]
"""The points of each collection."""
UNREAD = "Service internal error: The read operation could not reach all replicas"
INVALID = "Wrong input: Validation error in JSON body"
LOST = "Service internal error: The replica set for shard {} has no active replica"


class ClusterStub(StubQdrant):
    """Answers as a node of a cluster would that forwards each request to the other nodes."""

    def __init__(self, nodes: int = 2, shards: int = 1) -> None:
        super().__init__()
        self.replicas = [self.client, *(QdrantMemory() for _ in range(nodes - 1))]
        self.unreplicated: set[str] = set()
        """The collections that were created with a `replication_factor` of 1."""
        self.reader: int | None = None
        """The node that answers all reads; None if the living nodes answer in turn."""
        self.down: set[int] = set()
        """The nodes that neither read nor write."""
        self.full: set[int] = set()
        """The nodes that answer reads and refuse writes, because their disk is full."""
        self.shards = shards
        self.lost: set[int] = set()
        """The shards whose points can be neither read nor written."""
        self.invalid: set[str] = set()
        """The ids of products whose points are refused as invalid, with all others of their request."""
        self.asked: list[str] = []
        """What was asked: "points", "points/batch" and so on."""
        self._one_at_a_time = threading.RLock()
        self._turn = 0

    def do(self, method: str, path: str, body: dict[str, Any], query: str = "") -> tuple[int, Any]:
        found = COLLECTION.fullmatch(path)
        name, asked = (found[1], found[2] or "") if found else ("", "")
        with self._one_at_a_time:
            self.asked.append(asked)
            if asked in WRITES:
                return self._write(method, path, body, name)
            if asked not in READS:
                if body.get("replication_factor") == 1:
                    self.unreplicated.add(name)
                return [self._on(node, method, path, body) for node in range(len(self.replicas))][-1]
            if lost := self.lost & {self.shard(key) for key in body.get("ids", ())}:
                return 500, LOST.format(min(lost))
            if parse_qs(query).get("consistency") == ["all"]:
                return self._read_all(method, path, body)
            self._turn += 1
            living = [node for node in range(len(self.replicas)) if node not in self.down]
            if not living:
                return 500, UNREAD
            node = living[self._turn % len(living)] if self.reader is None else self.reader
            return self._on(node, method, path, body)

    def shard(self, key: str) -> int:
        """Return the shard of a point."""
        return uuid.UUID(str(key)).int % self.shards

    def points(self, node: int, collection: str) -> dict[str, Any]:
        """Return all points that a node has, by id."""
        records, _ = self.replicas[node].scroll(collection, limit=10**6, with_vectors=True)
        return {str(record.id): record for record in records}

    def snapshot(self) -> Snapshot:
        """Return what the cluster has now."""
        with self._one_at_a_time:
            names = [collection.name for collection in self.replicas[0].get_collections().collections]
            return {
                name: [
                    models.PointStruct(id=key, vector=point.vector or {}, payload=point.payload)
                    for key, point in self.points(0, name).items()
                ]
                for name in names
            }

    def restore(self, snapshot: Snapshot) -> None:
        """Put the collections that still exist back to a snapshot, on all nodes."""
        with self._one_at_a_time:
            for replica in self.replicas:
                for name, points in snapshot.items():
                    if replica.collection_exists(name):
                        replica.delete(name, models.FilterSelector(filter=models.Filter()))
                        if points:
                            replica.upsert(name, points)

    def lose_everything(self) -> None:
        """Delete all collections, on all nodes."""
        with self._one_at_a_time:
            for replica in self.replicas:
                for collection in replica.get_collections().collections:
                    replica.delete_collection(collection.name)

    def _on(self, node: int, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Carry out a request on one node."""
        self.client = self.replicas[node]
        return super().do(method, path, body)

    def _write(self, method: str, path: str, body: dict[str, Any], name: str) -> tuple[int, Any]:
        stamps = [point["payload"].get("_clip", {}) for point in points_to_write(body)]
        if self.invalid & {stamp.get("product_id") for stamp in stamps}:
            return 400, INVALID
        lost = self._without_lost_shards(body, name)
        able = [node for node in range(len(self.replicas)) if node not in self.down | self.full]
        answers = [self._on(node, method, path, body) for node in able]
        if lost:
            return 500, LOST.format(min(lost))
        if len(able) < len(self.replicas) and name not in self.unreplicated:
            return 500, REFUSED.format(len(self.replicas), len(able))
        return answers[-1]

    def _without_lost_shards(self, body: dict[str, Any], name: str) -> set[int]:
        """Remove from a request the points to write that are in lost shards. Return these shards."""
        lost, shard = self.lost, self.shard
        if name in self.unreplicated:  # a shard on each node
            lost, shard = self.down, lambda key: uuid.UUID(str(key)).int % len(self.replicas)
        found = lost & {shard(point["id"]) for point in points_to_write(body)}
        if found:
            for operation in body["operations"]:
                points = operation["upsert"]["points"]
                operation["upsert"]["points"] = [p for p in points if shard(p["id"]) not in found]
            body["operations"] = [o for o in body["operations"] if o["upsert"]["points"]]
        return found

    def _read_all(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self.down:
            return 500, UNREAD
        answers = [self._on(node, method, path, body) for node in range(len(self.replicas))]
        if failed := [answer for answer in answers if answer[0] != 200]:
            return failed[0]
        (_, first), *others = answers
        return 200, [record for record in first if all(record in result for _, result in others)]


def points_to_write(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the points of a request that writes."""
    operations = body.get("operations", ())
    return [point for operation in operations for point in operation.get("upsert", {}).get("points", ())]


class Node(StubQdrant):
    """An address of a cluster that can hang, be killed and be started again, with the replica behind it.

    While it is hung or dead, the requests to other nodes find its replica down.
    """

    def __init__(self, cluster: ClusterStub, number: int) -> None:
        super().__init__(number)
        self.cluster, self.number = cluster, number
        self.is_dead = False

    @property
    def is_well(self) -> bool:
        return not (self.share or self.number in self.cluster.down | self.cluster.full)

    def do(self, method: str, path: str, body: dict[str, Any], query: str = "") -> tuple[int, Any]:
        self._die()
        answer = self.cluster.do(method, path, body, query)
        self._die()  # if it was killed meanwhile, it has carried out the request without an answer
        return answer

    def _die(self) -> None:
        """Close the connection instead of an answer, if the node is dead."""
        if self.is_dead:
            raise ConnectionAbortedError

    def hang(self) -> None:
        self.cluster.down.add(self.number)
        super().hang()

    def go_on(self) -> None:
        self.cluster.down.discard(self.number)
        super().go_on()

    def kill(self) -> None:
        self.cluster.down.add(self.number)
        self.is_dead = True

    def start(self) -> None:
        self.cluster.down.discard(self.number)
        self.is_dead = False


@contextmanager
def serving_cluster(nodes: int = 2, shards: int = 1) -> Iterator[ClusterStub]:
    """Run a fake cluster in a thread while the block runs."""
    with running(ClusterStub(nodes, shards)) as stub:
        yield stub
