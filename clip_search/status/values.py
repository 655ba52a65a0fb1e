"""What `get_status()` returns: frozen values, and the same as plain JSON values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing: its code, and a sentence with what to do."""

    code: str
    message: str
    document: str = ""
    """The name of the document that it is about, or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """An error text that several entries have, and some of their product ids."""

    reason: str
    count: int
    product_ids: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """One collection of a document. `points` is None if it was not counted: see `error`."""

    name: str
    state: str
    generation: int
    dimension: int
    fingerprint: str
    installation: str
    has_configured_model: bool | None
    """Whether the configured CLIP model built it. None if that model cannot be read."""
    fits_max_images: bool
    """False if `max_images` has changed from 1 to several, or back, since it was created."""
    has_words: bool
    """Whether searches compare words in it. False until `clip_reindex` has added those of all products."""
    is_leased: bool
    """True if a process is building it."""
    next_step: str
    """What continues or removes it, or "" if it is live."""
    points: int | None
    is_exact: bool
    """False if the points were counted approximately, because the server refuses exact counts."""
    error_code: str
    error: str
    """Why it cannot be used or counted, or ""."""
    refusal: str
    """Why the store refused the last write, or ""."""
    refused_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """The last run of `clip_reindex`. `ended_at` is None while it runs, or if it was killed."""

    started_at: datetime
    ended_at: datetime | None
    counts: Mapping[str, int]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStatus:
    """One document: its rows, its index entries, and the points of its live collection."""

    name: str
    model: str
    rows: int
    """The number of rows of `get_queryset()`. Not each of them must be a product of its own."""
    entries: Mapping[str, int]
    """The number of index entries in each state."""
    pending_since: datetime | None
    """Since when the entry or the related change that has been pending longest waits."""
    related_changes: int
    pending_reasons: Sequence[Reason]
    """Why pending entries could not be indexed yet, the most frequent reason first."""
    failed_reasons: Sequence[Reason]
    points: int | None
    """The number of points in the live collection. None if there is none, or if the store does not answer."""
    points_differ: bool
    """True if there are more or fewer points than the entries say, while nothing is pending."""
    without_image: int | None
    truncated: int | None
    """How many texts are longer than the CLIP model reads."""
    truncated_ids: Sequence[str]
    collections: Sequence[CollectionStatus]
    last_run: RunStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """The CLIP model that the settings name. `fingerprint` is "" if it cannot be read: see `error`."""

    name: str
    text_model: str
    encoder: str
    fingerprint: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One worker that is alive. `version`, `model` and `fingerprint` are "" for RQ's own worker classes."""

    name: str
    hostname: str
    pid: int
    state: str
    last_heartbeat: str
    version: str
    model: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """The queue that the settings name. `length` is None if Redis does not answer: see `error`."""

    name: str
    length: int | None
    is_suspended: bool
    workers: Sequence[WorkerStatus]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """The store that the settings name. `error` says why it does not answer, or is ""."""

    backend: str
    """The dotted path of its class."""
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftoverStatus:
    """Data that nothing uses any more, and why `clip_cleanup` keeps it, or ""."""

    description: str
    kept: str

    def __str__(self) -> str:
        return f"{self.description} (stays: {self.kept})" if self.kept else self.description


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that is known of the index, and what is wrong."""

    version: str
    checked_at: datetime
    installation: str
    model: ModelStatus
    store: StoreStatus
    queue: QueueStatus | None
    """None if CLIP_SEARCH["QUEUE"] is None."""
    documents: Sequence[DocumentStatus]
    leftovers: Sequence[LeftoverStatus] | None
    """None if they were not looked for: only some documents were asked for, or the store does not answer."""
    problems: Sequence[Finding]
    """What is wrong. If there is any, `clip_status` exits with status 1."""
    notes: Sequence[Finding]
    """What is worth knowing, and not wrong."""

    def as_json(self) -> dict[str, Any]:
        """Return the status as plain JSON values. docs/reference/clip_status.schema.json describes them."""
        values = {"ok": not self.problems} | asdict(self)
        plain: dict[str, Any] = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
        return plain
