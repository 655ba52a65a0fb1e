"""The embedded store: Qdrant's own engine in a folder, shared by this machine's processes."""

from __future__ import annotations

import logging
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from ..exceptions import CollectionMissing, SetupError, StoreBusy, StoreUnavailable
from ..types import IMAGE, TEXT, Point
from .base import CLIP, RRF_K, Leg, Query, Schema
from .disk import MIN_FREE_BYTES, SYNCS_MAPS, Disk, size, sync
from .filters import Dialect
from .openings import Opening
from .qdrant import QdrantStore, payload_indexes, refused

logger = logging.getLogger("clip_search")

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
HONOURED = {"on_disk_payload"}
UNUSED_INDEXES = {f"{CLIP}.revision", f"{CLIP}.source"}
"""Loading an index takes up to 10 ms an opening at 20,000 points, and no search is by these."""
LOG = "wal"
"""Where in a collection's folder the engine writes first (a write-ahead log)."""
LOG_BYTES = 32 * 1024 * 1024
"""How much is written to a collection that stays open before it is flushed: one of the log's files."""


class EmbeddedStore(QdrantStore):
    """Collections in folders under `path`, for development, demos and shops up to about 20,000 products.

    A folder can be open only once, so processes take turns on it, and whoever waits longer than
    `lock_timeout` seconds gets StoreBusy. After a search, and while it is `kept`, it stays open until another
    process wants it; `held` keeps it open longer. The engine maps its files into memory, where a full disk
    kills the process: with less than `min_free_bytes` free, every operation raises StoreFull before it opens
    anything, and writing needs more.

    Search is exact. Of COLLECTION_OPTIONS it knows `on_disk_payload`; the rest is for servers.
    """

    shared: ClassVar[bool] = False

    def __init__(
        self, path: str | Path, *, lock_timeout: float = 30.0, min_free_bytes: int = MIN_FREE_BYTES
    ) -> None:
        self._path = Path(path)
        self._lock_timeout = lock_timeout
        self._disk = Disk(self._path, min_free_bytes)
        self._openings: dict[str, Opening] = {}
        self._making = threading.Lock()
        self._keeping = 0
        self._kept: set[str] = set()
        self._logged: dict[str, int] = {}

    @cached_property
    def _edge(self) -> Any:
        try:
            import qdrant_edge
        except ImportError as error:
            raise SetupError(
                'CLIP_SEARCH["QDRANT"]["path"] needs one more package: '
                'pip install "django-clip-search[embedded]".'
            ) from error
        return qdrant_edge

    @cached_property
    def dialect(self) -> Dialect:
        edge = self._edge
        return Dialect(
            models=edge,
            point=edge.Point,
            match=self._match,
            numbers=edge.RangeFloat,
            dates=edge.RangeDateTime,
            has_id=lambda ids: edge.HasIdCondition(set(ids)),
            has_vector=edge.HasVectorCondition,
        )

    def _match(self, value: bool | str) -> Any:
        import numpy as np

        # qdrant-edge-py 0.9 takes Python's True for the integer 1, which no boolean equals.
        return self._edge.MatchValue(np.bool_(value) if isinstance(value, bool) else value)

    def create(self, collection: str, schema: Schema) -> None:
        folder = self._folder(collection)
        with self._explaining_files():
            self._path.mkdir(parents=True, exist_ok=True)
        self._disk.check_space(writing=0)
        with self._locked(collection):
            if not folder.is_dir():
                self._make(collection, schema)
                return
        with self._shard(collection) as shard:
            self._make_indexes(shard, schema)

    def _make(self, collection: str, schema: Schema) -> None:
        making = self._path / f".{collection}.making"
        with self._explaining_files():
            shutil.rmtree(making, ignore_errors=True)  # left by a process that was killed here
            shard = _asked(self._edge.EdgeShard.create, str(making), self._config(schema))
            try:
                self._make_indexes(shard, schema)
            finally:
                _asked(shard.close)
            making.rename(self._folder(collection))
        logger.info("Created collection=%s dimension=%d", collection, schema.dimension)

    def _make_indexes(self, shard: Any, schema: Schema) -> None:
        edge = self._edge
        there = _asked(shard.info).payload_schema
        for key, name in payload_indexes(schema).items():
            if key not in UNUSED_INDEXES and key not in there:
                index = getattr(edge.PayloadSchemaType, name.capitalize())
                _asked(shard.update, edge.UpdateOperation.create_field_index(key, index))

    def _config(self, schema: Schema) -> Any:
        edge = self._edge
        best_match = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
        ignored = sorted(set(schema.options) - HONOURED)
        if ignored:
            logger.info("Ignored by the embedded store: options=%s", ",".join(ignored))
        return edge.EdgeConfig(
            vectors={
                TEXT: self._vector(schema.dimension),
                IMAGE: self._vector(schema.dimension, best_match if schema.multiple_images else None),
            },
            on_disk_payload=schema.options.get("on_disk_payload"),
        )

    def _vector(self, dimension: int, multivector: Any = None) -> Any:
        # Memory.Cold would open 0.1 s faster, and search with a filter 0.5 s slower (20,000 products).
        return self._edge.EdgeVectorParams(
            size=dimension, distance=self._edge.Distance.Cosine, multivector_config=multivector
        )

    def exists(self, collection: str) -> bool:
        return self._folder(collection).is_dir()

    def destroy(self, collection: str) -> None:
        folder = self._folder(collection)
        if not folder.is_dir():
            return
        gone = self._path / f".{collection}.gone"
        with self._locked(collection), self._explaining_files():
            shutil.rmtree(gone, ignore_errors=True)
            if folder.is_dir():
                folder.rename(gone)  # in one step, so that no half-deleted collection is ever opened
                shutil.rmtree(gone)

    @contextmanager
    def held(self, collection: str) -> Iterator[None]:
        """Keep the collection open, and locked for everybody else, for this thread. Re-entrant."""
        with self._shard(collection):
            yield

    @contextmanager
    def kept(self) -> Iterator[None]:
        with self._making:
            self._keeping += 1
        try:
            yield
        finally:
            with self._making:
                self._keeping -= 1
                over: set[str] = set()
                if not self._keeping:
                    over, self._kept = self._kept, over
            for collection in over:
                self._openings[collection].close(wait=False)  # who is in it closes it when done

    def close(self) -> None:
        for opening in list(self._openings.values()):
            opening.close()

    @contextmanager
    def _shard(self, collection: str, *, stay: bool = False) -> Iterator[Any]:
        """Have the collection open; it may `stay` open afterwards, while nobody else wants it."""
        self._disk.check_space()
        self._check_exists(collection)
        opening = self._opening(collection)
        with self._explaining_files():
            shard = opening.enter()
        try:
            yield shard
        except BaseException:
            opening.leave(stay=stay, failed=True)
            raise
        if self._keeping:
            self._kept.add(collection)
        opening.leave(stay=stay or self._keeping > 0)

    def _opening(self, collection: str) -> Opening:
        with self._making:
            if collection not in self._openings:
                lock, load = self._path / collection, partial(self._load, collection)
                self._openings[collection] = Opening(lock, load, self._lock_timeout)
            return self._openings[collection]

    def _load(self, collection: str) -> Any:
        self._check_exists(collection)  # it may have been destroyed while this waited
        self._disk.check_space()  # and the disk filled
        self._logged[collection] = 0
        return _asked(self._edge.EdgeShard.load, str(self._folder(collection)))

    @contextmanager
    def _locked(self, collection: str) -> Iterator[None]:
        with self._explaining_files(), self._opening(collection).closed():
            yield

    @contextmanager
    def _explaining_files(self) -> Iterator[None]:
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
            raise SetupError(f"{collection!r} cannot be the name of a collection: it becomes a folder.")
        return self._path / collection

    def _check_exists(self, collection: str) -> None:
        if not self.exists(collection):
            raise CollectionMissing

    def _write(self, collection: str, points: Sequence[Point], *, or_equal: bool) -> None:
        if not points:
            return
        with self._shard(collection):
            written = size(points)
            self._disk.check_space(written)
            self._logged[collection] += written
            super()._write(collection, points, or_equal=or_equal)

    def _retrieve(self, collection: str, ids: list[uuid.UUID], vectors: bool) -> Iterable[Any]:
        with self._shard(collection) as shard:
            records: list[Any] = _asked(shard.retrieve, ids, with_payload=True, with_vector=vectors)
        return records

    def _page(self, collection: str, start: uuid.UUID | None, limit: int) -> Iterable[Any]:
        request = self._edge.ScrollRequest(offset=start, limit=limit, with_payload=True, with_vector=False)
        with self._shard(collection) as shard:
            records, _ = _asked(shard.scroll, request)
        return records  # type: ignore[no-any-return]

    def _upsert(self, collection: str, batches: list[tuple[list[Any], Any]]) -> None:
        upsert = self._edge.UpdateOperation.upsert_points
        self._update(collection, [upsert(points, condition=where) for points, where in batches])

    def _delete(self, collection: str, where: Any) -> None:
        self._update(collection, [self._edge.UpdateOperation.delete_points_by_filter(where)])

    def _update(self, collection: str, operations: Sequence[Any]) -> None:
        with self._shard(collection) as shard:
            for operation in operations:
                _asked(shard.update, operation)
            if self._keeping:  # otherwise closing brings it to the disk
                self._save(collection, shard)

    def _save(self, collection: str, shard: Any) -> None:
        """Bring what was written to the disk: the log, of which the engine restores it, or at times all.

        A flush waits for the disk 80 times, one after the other, and lets no other thread run meanwhile.
        """
        if SYNCS_MAPS and self._logged[collection] < LOG_BYTES:
            with self._explaining_files():
                sync(self._folder(collection) / LOG)
        else:
            _asked(shard.flush)
            self._logged[collection] = 0

    def _find(self, collection: str, query: Query, where: Any, offset: int, limit: int) -> Iterable[Any]:
        request = self._edge.QueryRequest(
            limit=limit, offset=offset, filter=where, with_payload=True, **self._search(query, where)
        )
        with self._shard(collection, stay=True) as shard:
            hits: list[Any] = _asked(shard.query, request)
        return hits

    def _search(self, query: Query, where: Any) -> Mapping[str, Any]:
        if not query.legs:
            return {}
        if len(query.legs) == 1:
            return {"query": self._near(query.legs[0]), "score_threshold": query.min_score}
        prefetches = [
            self._edge.Prefetch(
                limit=query.depth, query=self._near(leg), filter=where, score_threshold=query.min_score
            )
            for leg in query.legs
        ]
        fusion = self._edge.Fusion.Rrf(k=RRF_K, weights=[float(leg.weight) for leg in query.legs])
        return {"query": fusion, "prefetches": prefetches}

    def _near(self, leg: Leg) -> Any:
        return self._edge.Query.Nearest(leg.vector.tolist(), using=leg.using)

    def _facet(self, collection: str, key: str, where: Any, limit: int) -> Iterable[Any]:
        request = self._edge.FacetRequest(key=key, limit=limit, exact=True, filter=where)
        with self._shard(collection, stay=True) as shard:
            hits: list[Any] = _asked(shard.facet, request).hits
        return hits

    def _count(self, collection: str, where: Any) -> int:
        with self._shard(collection, stay=True) as shard:
            return int(_asked(shard.count, self._edge.CountRequest(exact=True, filter=where)))


def _asked(ask: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the engine. It raises nothing narrower than Exception, so the message has to tell."""
    try:
        return ask(*args, **kwargs)
    except Exception as error:
        message = str(error)
        if message.startswith(("Vector dimension error", "Not existing vector name", "No appropriate index")):
            raise refused(message) from error
        raise StoreUnavailable(f"The embedded store failed: {message}.") from error
