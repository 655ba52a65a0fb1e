"""The stores of `python -m tests.chaos`, with the faults of each."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.surroundings import Surroundings
from tests.doubles.qdrant_cluster import ClusterStub, Node, Snapshot, serving_cluster
from tests.doubles.qdrant_stub import running

if TYPE_CHECKING:
    from tests.chaos.oracle import Seen

NODES = 2
ROUNDING = 1e-4
"""A vector that is read and written again is normalized again."""


class OnEmbeddedStore(Surroundings):
    """A shop whose collections are in a folder."""

    @property
    def folder(self) -> Path:
        return self.data / "qdrant"

    @property
    def environment(self) -> dict[str, str]:
        return {"CLIP_SEARCH_TEST_QDRANT_PATH": str(self.folder)}

    def replicas(self, collection: str) -> list[dict[str, Seen]]:
        from tests.chaos.oracle import embedded_points

        return [embedded_points(self.folder, collection)]

    @property
    def collections(self) -> set[str]:
        return {folder.name for folder in self.folder.glob("product-*") if folder.is_dir()}

    def fault_store_is_locked(self) -> None:
        """Lock the store, as another process would."""
        import fcntl

        seconds = self.rng.uniform(0.5, 4)
        for lock in self.folder.glob("*.lock"):
            handle = lock.open("ab")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
            else:
                self.after(seconds, handle.close)

    def fault_store_loses_the_collection(self) -> None:
        if self.rng.random() < 0.7:  # everything is embedded anew
            return
        for folder in self.folder.glob("product-*"):
            if folder.is_dir():
                folder.rename(self.data / f"lost-{time.monotonic_ns()}")


class OnCluster(Surroundings):
    """A shop whose collections are on a fake cluster of Qdrant, with a replica on each node."""

    def __init__(self, data: Path, rng: random.Random, cluster: ClusterStub, nodes: list[Node]) -> None:
        self.cluster, self.nodes = cluster, nodes
        self.snapshot: Snapshot | None = None
        super().__init__(data, rng)

    @property
    def environment(self) -> dict[str, str]:
        return {"CLIP_SEARCH_TEST_QDRANT_STUB": " ".join(node.url for node in self.nodes)}

    def replicas(self, collection: str) -> list[dict[str, Seen]]:
        from tests.chaos.oracle import seen

        return [
            {key: seen(dict(p.payload), p.vector) for key, p in self.cluster.points(n, collection).items()}
            for n in range(NODES)
        ]

    def disagreeing(self, collection: str) -> list[str]:
        first, *others = (self.cluster.points(n, collection) for n in range(NODES))
        keys = set(first).union(*others)
        return sorted(key for key in keys if any(differ(first.get(key), found.get(key)) for found in others))

    @property
    def collections(self) -> set[str]:
        replicas = self.cluster.replicas
        return {found.name for replica in replicas for found in replica.get_collections().collections}

    @property
    def writes(self) -> int:
        return self.cluster.asked.count("points/batch")

    def node(self) -> Node | None:
        """Return a node without a fault, chosen at random, or None if every node has one."""
        well = [node for node in self.nodes if node.is_well]
        return self.rng.choice(well) if well else None

    def fault_node_falters(self) -> None:
        """Let a node fail in all the ways that a server and the network have."""
        if node := self.node():
            node.share = self.rng.choice([0.3, 0.6, 1.0])
            self.after(self.rng.uniform(0.5, 4), lambda: setattr(node, "share", 0.0))

    def fault_node_refuses_after_others_have_written(self) -> None:
        if node := self.node():
            self.cluster.full.add(node.number)
            self.after(self.rng.uniform(0.5, 4), lambda: self.cluster.full.discard(node.number))

    def fault_node_hangs(self) -> None:
        if node := self.node():
            node.hang()
            self.after(self.rng.uniform(0.5, 4), node.go_on)

    def fault_node_killed(self) -> None:
        if node := self.node():
            node.kill()
            self.after(self.rng.uniform(0.5, 4), node.start)

    def fault_store_loses_the_collection(self) -> None:
        if self.rng.random() < 0.3:  # everything is embedded anew
            self.cluster.lose_everything()

    def fault_snapshot_restored(self) -> None:
        """Take a snapshot of the store, or restore the last one."""
        if self.snapshot and self.rng.random() < 0.5:
            self.cluster.restore(self.snapshot)
            self.needs_verifying = True
        else:
            self.snapshot = self.cluster.snapshot()


def differ(one: Any, other: Any) -> bool:
    """Return whether two replicas of a point differ in more than the rounding of their vectors."""
    if one is None or other is None or one.payload != other.payload:
        return one is not other
    vectors, others = one.vector or {}, other.vector or {}
    if vectors.keys() != others.keys():
        return True
    for name, vector in vectors.items():
        ours, theirs = numbers(vector), numbers(others[name])
        if ours.keys() != theirs.keys() or any(abs(ours[key] - theirs[key]) > ROUNDING for key in ours):
            return True
    return False


def numbers(vector: Any) -> dict[int, float]:
    """Return the numbers of a vector by their places; a sparse one has only some places."""
    if hasattr(vector, "indices"):
        return dict(zip(vector.indices, vector.values, strict=True))
    return dict(enumerate(vector))


@contextmanager
def on_cluster(data: Path, rng: random.Random) -> Iterator[OnCluster]:
    """Serve a cluster while the block runs, each node at an address of its own."""
    with ExitStack() as stack:
        cluster = stack.enter_context(serving_cluster(NODES))
        nodes = [stack.enter_context(running(Node(cluster, n))) for n in range(NODES)]
        yield OnCluster(data, rng, cluster, nodes)
