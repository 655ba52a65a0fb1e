"""`EmbeddedStore`: Qdrant's engine in this process, with its files in a folder."""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ...exceptions import CollectionMissing, SetupError, StoreBusy, StoreUnavailable
from ...types import WORDS, Point
from ..base import CLIP, TERMS, Condition, Query, Retriever, Schema
from ..filters import Dialect
from ..qdrant import VECTORS_READ, QdrantStore, payload_indexes
from .disk import MIN_FREE_BYTES, Disk, size
from .engine import call, config_of, dialect_of, load_engine
from .sharing import SharedHandle

logger = logging.getLogger("clip_search")

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
REMAINS = re.compile(rf"\.({NAME.pattern})\.(?:gone|making)|({NAME.pattern})\.(?:lock|turn)")
CONFIG, MARK = "edge_config.json", "clip_search.json"
"""Two files in the folder of a collection: one of the engine, and ours with the collection's mark."""
UNUSED_INDEXES = {f"{CLIP}.revision", f"{CLIP}.source", f"{CLIP}.invalid"}
"""Indexes that are not created: few searches use them, and opening each takes up to 10 ms."""


class EmbeddedStore(QdrantStore):
    """Keeps collections in folders under `path`, for development, demos and small shops.

    A shop may have up to about 20,000 products. Only one process can open a collection at a time, so
    processes take turns: a process that waits longer than `lock_timeout` seconds gets StoreBusy. After a
    search, and during `keep_open()`, a collection stays open until another process wants it; while others
    use it too, `keep_open()` does nothing. During `session()`, it stays open in any case. If less than
    `min_free_bytes` of the disk are free, every operation raises StoreFull, because a full disk would kill
    the process; a write needs more free space.

    Search is exact. Of COLLECTION_OPTIONS, only `on_disk_payload` is supported; the others are for servers.
    """

    is_exclusive = True

    def __init__(
        self, path: str | Path, *, lock_timeout: float = 30.0, min_free_bytes: int = MIN_FREE_BYTES
    ) -> None:
        self._path = Path(path)
        self._lock_timeout = float(lock_timeout)
        self._disk = Disk(self._path, int(min_free_bytes))
        self._handles: dict[str, SharedHandle] = {}
        self._lock = threading.Lock()  # protects _handles, _keeping_open and _kept_open
        self._keeping_open = 0
        self._kept_open: set[str] = set()

    @cached_property
    def _edge(self) -> Any:
        return load_engine()

    @cached_property
    def dialect(self) -> Dialect:
        return dialect_of(self._edge)

    # Creating and deleting collections.

    def create(self, collection: str, schema: Schema) -> None:
        folder = self._folder(collection)
        with self._file_errors():
            self._path.mkdir(parents=True, exist_ok=True)
        self._disk.check_space(writing=0)
        with self._file_errors(), self._handle(collection).closed():
            if not folder.is_dir():
                self._create(collection, schema)
                return
        edge = self._edge
        with self.session(collection) as shard:
            # does nothing unless an earlier version has created the collection
            call(shard.update, edge.UpdateOperation.create_sparse_vector(WORDS, modifier=edge.Modifier.Idf))
            self._create_indexes(shard, schema)

    def _create(self, collection: str, schema: Schema) -> None:
        unfinished = self._path / f".{collection}.making"
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
        shard = call(self._edge.EdgeShard.create, str(unfinished), config_of(self._edge, schema))
        try:
            self._create_indexes(shard, schema)
        finally:
            call(shard.close)
        (unfinished / MARK).write_text(json.dumps(dict(schema.mark)), encoding="utf-8")
        unfinished.rename(self._folder(collection))
        logger.info("Created collection=%s dimension=%d", collection, schema.dimension)

    def _create_indexes(self, shard: Any, schema: Schema) -> None:
        edge = self._edge
        existing = call(shard.info).payload_schema
        for key, name in payload_indexes(schema).items():
            if key not in UNUSED_INDEXES and key not in existing:
                index = getattr(edge.PayloadSchemaType, name.capitalize())
                call(shard.update, edge.UpdateOperation.create_field_index(key, index))

    def exists(self, collection: str) -> bool:
        return self._folder(collection).is_dir()

    def names(self) -> list[str]:
        with self._file_errors():
            if not self._path.is_dir():
                return []
            return sorted(path.name for path in self._path.iterdir() if (path / CONFIG).is_file())

    def mark(self, collection: str) -> dict[str, str]:
        folder = self._folder(collection)
        if not folder.is_dir():
            raise CollectionMissing
        try:
            mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # there is no mark, or the collection is being deleted
            return {}
        return {str(key): str(value) for key, value in mark.items()} if isinstance(mark, dict) else {}

    def vectors(self, collection: str) -> dict[str, int] | None:
        folder = self._folder(collection)
        if not folder.is_dir():
            raise CollectionMissing
        try:
            vectors = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["vectors"]
            return {str(name): int(vector["size"]) for name, vector in vectors.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # another version of the engine
            return None

    def destroy(self, collection: str) -> None:
        folder, handle = self._folder(collection), self._handle(collection)
        gone, unfinished = (self._path / f".{collection}.{ending}" for ending in ("gone", "making"))
        if not any(path.exists() for path in (folder, gone, unfinished, *handle.lock_paths)):
            return
        with self._file_errors(), handle.closed():
            for left in (gone, unfinished):  # left by processes that were killed
                shutil.rmtree(left, ignore_errors=True)
            if folder.is_dir():
                folder.rename(gone)  # a rename is atomic: no process opens a half-deleted collection
                shutil.rmtree(gone)
            for path in handle.lock_paths:  # a process that waits for one then raises CollectionMissing
                with suppress(OSError):  # Windows cannot delete an open file
                    path.unlink(missing_ok=True)

    def remains(self, older_than: timedelta) -> list[str]:
        found: dict[str, float] = {}
        with self._file_errors():
            for path in self._path.iterdir() if self._path.is_dir() else ():
                match = REMAINS.fullmatch(path.name)
                if match and not self._folder(name := match[1] or match[2]).is_dir():
                    with suppress(FileNotFoundError):
                        found[name] = max(found.get(name, 0.0), path.stat().st_mtime)
            return sorted(
                name
                for name, changed in found.items()
                if time.time() - changed > older_than.total_seconds() and not self._handle(name).is_locked()
            )

    # Opening and closing collections.

    @contextmanager
    def session(self, collection: str, *, stay_open: bool = False) -> Iterator[Any]:
        """Open the collection and lock it for this thread during the block. May be nested.

        With `stay_open`, the collection stays open after the block until another process wants it.
        """
        self._disk.check_space()
        handle = self._handle(collection)
        if not handle.path.is_dir():
            raise CollectionMissing
        with self._file_errors():
            shard = handle.enter()
        try:
            yield shard
        except BaseException:
            handle.leave(stay=stay_open, failed=True)
            raise
        if self._keeping_open:
            self._kept_open.add(collection)
        handle.leave(stay=stay_open or (self._keeping_open > 0 and not handle.is_contended))

    @contextmanager
    def keep_open(self) -> Iterator[None]:
        with self._lock:
            self._keeping_open += 1
        try:
            yield
        finally:
            with self._lock:
                self._keeping_open -= 1
                over: set[str] = set()
                if not self._keeping_open:
                    over, self._kept_open = self._kept_open, over
            for collection in over:
                self._handles[collection].close(wait=False)  # if a thread is using it, that thread closes it

    def close(self) -> None:
        for handle in list(self._handles.values()):
            handle.close()

    def _handle(self, collection: str) -> SharedHandle:
        with self._lock:
            if collection not in self._handles:
                path, load = self._folder(collection), partial(self._load, collection)
                self._handles[collection] = SharedHandle(path, load, self._lock_timeout)
            return self._handles[collection]

    def _load(self, collection: str) -> Any:
        folder = self._folder(collection)
        if not folder.is_dir():  # it was deleted while this process waited
            raise CollectionMissing
        self._disk.check_space()  # the disk may have become full meanwhile
        return call(self._edge.EdgeShard.load, str(folder))

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        """Turn TimeoutError in the block into StoreBusy, and OSError into StoreUnavailable."""
        try:
            yield
        except TimeoutError as error:
            raise StoreBusy from error
        except OSError as error:
            raise StoreUnavailable(
                f"The embedded store cannot use its folder: {error}. "
                'Give this process the right to write to CLIP_SEARCH["QDRANT"]["path"].'
            ) from error

    def _folder(self, collection: str) -> Path:
        if not NAME.fullmatch(collection):
            raise SetupError(f"{collection!r} is not a valid name of a collection: no folder can have it.")
        return self._path / collection

    # Reading and writing points.

    def _retrieve(self, collection: str, ids: list[uuid.UUID], vectors: bool) -> Iterable[Any]:
        with self.session(collection) as shard:
            records: list[Any] = call(
                shard.retrieve,
                ids,
                with_payload=self._without_terms,
                with_vector=VECTORS_READ if vectors else False,
            )
        return records

    def _page(self, collection: str, start: uuid.UUID | None, limit: int) -> Iterable[Any]:
        request = self._edge.ScrollRequest(offset=start, limit=limit, with_payload=self._without_terms)
        with self.session(collection) as shard:
            records, _ = call(shard.scroll, request)
        return records  # type: ignore[no-any-return]

    @cached_property
    def _without_terms(self) -> Any:
        return self.dialect.without([TERMS])

    def _write(self, collection: str, points: Sequence[Point], *, or_equal: bool) -> None:
        if not points:
            return
        with self.session(collection):
            self._disk.check_space(size(points))  # after the wait for the collection
            super()._write(collection, points, or_equal=or_equal)

    def _update(self, collection: str, operations: list[Any]) -> None:
        with self.session(collection) as shard:
            # Opening the collection repeats the last operation, so let that be one that does nothing.
            # Repeating the write of 128 points takes 16 ms.
            for operation in [*operations, self._edge.UpdateOperation.delete_points([])]:
                call(shard.update, operation)
            if self._keeping_open:  # otherwise the collection is closed, which writes to the disk
                call(shard.flush)

    # Searching and counting points.

    def _rank(
        self, collection: str, queries: Sequence[tuple[Query, Any]], payload: bool
    ) -> list[Iterable[Any]]:
        requests = [
            self._edge.QueryRequest(
                query=self._nearest(query.retriever) if query.retriever else None,
                filter=where,
                score_threshold=query.min_score if query.retriever else None,
                offset=query.offset,
                limit=query.limit,
                with_payload=self._without_terms if payload else False,
            )
            for query, where in queries
        ]
        with self.session(collection, stay_open=True) as shard:
            return [call(shard.query, request) for request in requests]

    def _nearest(self, retriever: Retriever) -> Any:
        vector = retriever.vector
        given = self._sparse(vector) if isinstance(vector, Mapping) else vector.tolist()
        return self._edge.Query.Nearest(given, using=retriever.using)

    def values(
        self, collection: str, keys: Sequence[str], *, conditions: Sequence[Condition] = ()
    ) -> list[tuple[uuid.UUID, Mapping[str, Any]]]:
        with self.session(collection, stay_open=True):
            return super().values(collection, keys, conditions=conditions)

    def _values(
        self, collection: str, keys: list[str], where: Any, start: uuid.UUID | None, limit: int
    ) -> Iterable[Any]:
        request = self._edge.ScrollRequest(
            offset=start, limit=limit, filter=where, with_payload=self.dialect.only(keys)
        )
        with self.session(collection, stay_open=True) as shard:
            records, _ = call(shard.scroll, request)
        return records  # type: ignore[no-any-return]

    def _facet(self, collection: str, key: str, where: Any, limit: int) -> Iterable[Any]:
        request = self._edge.FacetRequest(key=key, limit=limit, exact=True, filter=where)
        with self.session(collection, stay_open=True) as shard:
            hits: list[Any] = call(shard.facet, request).hits
        return hits

    def _count(self, collection: str, where: Any) -> int:
        with self.session(collection, stay_open=True) as shard:
            return int(call(shard.count, self._edge.CountRequest(exact=True, filter=where)))
