"""The status of the index: what there is and what is wrong. `clip_status` and two endpoints show it."""

from __future__ import annotations

from .health import find_outage
from .reporting import MAX_AGE, get_status
from .values import DocumentStatus, QueueStatus, Status

__all__ = ["MAX_AGE", "DocumentStatus", "QueueStatus", "Status", "find_outage", "get_status"]
