"""How often: one rate for whoever writes, one for whoever searches, read from the settings each time."""

from __future__ import annotations

import hashlib

from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from ..conf import conf


class ApiThrottle(UserRateThrottle):
    """Counts by user, or by address where nobody is logged in; a rate of None counts nothing."""

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        key = super().get_cache_key(request, view)
        # the address may come from a header: as it is, a hostile one breaks memcached
        return key and f"clip_search:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


class WriteThrottle(ApiThrottle):
    """Index, status and delete."""

    scope = "clip_search_write"

    def get_rate(self) -> str | None:
        return conf.api_throttle_rate


class SearchThrottle(ApiThrottle):
    """Search: open to shoppers, so slower."""

    scope = "clip_search_search"

    def get_rate(self) -> str | None:
        return conf.api_search_throttle_rate
