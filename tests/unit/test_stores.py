"""Every store against the contract, and what only one of them has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from clip_search.exceptions import SetupError
from clip_search.stores.base import TERMS, Condition, Query, Retriever, Store
from clip_search.stores.embedded.store import EmbeddedStore
from clip_search.stores.identity import check_contents
from clip_search.stores.server import ServerStore
from clip_search.testing import MemoryStore
from clip_search.types import IMAGE, TEXT, WORDS
from tests.doubles.qdrant_stub import serving
from tests.unit.store_contract import StoreContract
from tests.unit.store_contract.points import DIMENSION, SCHEMA, ids_of, product, vector, with_words

SERVER = os.environ.get("CLIP_SEARCH_TEST_QDRANT_URL")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: the engine waits for the disk at every index it makes."""
    memory = Path("/dev/shm")  # noqa: S108, the folder made in it is nobody else's
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class EarlierCollections:
    """What becomes of a collection that an earlier version has created: it has no words."""

    OLD = [product(number, payload={"category": "mug"}) for number in range(3)]

    def create_old(self, store: Store, name: str) -> None:
        """Create a collection without words on a server, with the points of `OLD`."""
        from qdrant_client import models

        assert isinstance(store, ServerStore)
        size = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
        operation = store.dialect.upsert([store._record(point) for point in self.OLD], None)
        store._ask(lambda client: client.create_collection(name, {TEXT: size, IMAGE: size}))
        store._ask(lambda client: client.batch_update_points(name, [operation], wait=True))

    @pytest.fixture
    def old(self, store: Store, name: str) -> Iterator[str]:
        self.create_old(store, name)
        yield name
        store.destroy(name)

    def test_it_is_read_as_before(self, store: Store, old: str) -> None:
        check_contents(store, old, DIMENSION)
        text = Retriever(using=TEXT, vector=vector(1))
        assert store.query(old, Query(retriever=text))[0].id == product(1).id
        assert store.get(old, [product(1).id])[product(1).id].payload == {"category": "mug"}

    def test_what_needs_words_names_the_command_that_adds_them(self, store: Store, old: str) -> None:
        words = Query(retriever=Retriever(using=WORDS, vector={"mug": 1.0}))
        for use in (lambda: store.rank(old, [words]), lambda: store.put(old, [with_words(5, {"mug": 1.0})])):
            with pytest.raises(SetupError, match=r"no words yet.*clip_reindex"):
                use()

    def test_words_are_added_and_everything_else_stays(self, store: Store, old: str) -> None:
        words = Query(retriever=Retriever(using=WORDS, vector={"mug": 1.0}))
        for _ in range(2):
            store.create(old, SCHEMA)
        assert store.rank(old, [words]) == [[]]
        check_contents(store, old, DIMENSION)
        found = store.get(old, [point.id for point in self.OLD], vectors=True)
        for point in self.OLD:
            assert (found[point.id].stamp, found[point.id].payload) == (point.stamp, point.payload)
            for using in (TEXT, IMAGE):
                np.testing.assert_allclose(found[point.id].vectors[using], point.vectors[using], atol=1e-6)
        store.put(old, [with_words(1, {"mug": 1.0}, revision=2), with_words(7, {"mug": 2.0})])
        store.create(old, SCHEMA)
        assert ids_of(store.rank(old, [words])[0]) == [product(7).id, product(1).id]
        assert store.count(old, conditions=[Condition(key=TERMS, operator="eq", value="mug")]) == 2
        assert store.facet(old, "category") == {"mug": 2}


class TestMemory(StoreContract, EarlierCollections):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = MemoryStore()
        yield store
        store.close()


class TestEmbedded(StoreContract, EarlierCollections):
    @pytest.fixture
    def store(self, folder: Path) -> Store:
        pytest.importorskip("qdrant_edge")
        return EmbeddedStore(folder / "qdrant")

    def create_old(self, store: Store, name: str) -> None:
        assert isinstance(store, EmbeddedStore)
        edge, path = store._edge, store._folder(name)
        path.parent.mkdir()
        size = edge.EdgeVectorParams(size=DIMENSION, distance=edge.Distance.Cosine)
        shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(vectors={TEXT: size, IMAGE: size}))
        shard.update(store.dialect.upsert([store._record(point) for point in self.OLD], None))
        shard.close()


@pytest.fixture(scope="module")
def over_http() -> Iterator[ServerStore]:
    with serving() as stub:
        store = ServerStore(url=stub.url)
        yield store
        store.close()


class TestServerOverHttp(StoreContract, EarlierCollections):
    """What is between the store and a server, too: requests and answers on the wire."""

    @pytest.fixture
    def store(self, over_http: ServerStore) -> Store:
        for name in over_http.names():
            over_http.destroy(name)
        return over_http


@pytest.mark.skipif(not SERVER, reason="CLIP_SEARCH_TEST_QDRANT_URL is not set")
class TestServer(StoreContract, EarlierCollections):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = ServerStore(url=SERVER, api_key=os.environ.get("CLIP_SEARCH_TEST_QDRANT_API_KEY"))
        yield store
        store.close()
