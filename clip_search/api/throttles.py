"""Throttles: one rate for writing and one for searching, read from the settings each time."""

from __future__ import annotations

import hashlib
import logging

from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from ..conf import conf
from ..exceptions import in_one_line

logger = logging.getLogger(__name__)


class ApiThrottle(UserRateThrottle):
    """Count requests by user, or by address for anonymous users. A rate of None allows any number."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            return super().allow_request(request, view)
        except Exception as error:  # each cache backend raises its own errors; nothing is counted then
            logger.warning("Cannot count requests in the cache error=%s", in_one_line(error))
            return True

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        key = super().get_cache_key(request, view)
        # hashed, because the address may come from a header, and some characters break memcached
        return key and f"clip_search:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


class WriteThrottle(ApiThrottle):
    """Index, status and delete."""

    scope = "clip_search_write"

    def get_rate(self) -> str | None:
        return conf.api_throttle_rate


class SearchThrottle(ApiThrottle):
    """Search."""

    scope = "clip_search_search"

    def get_rate(self) -> str | None:
        return conf.api_search_throttle_rate
