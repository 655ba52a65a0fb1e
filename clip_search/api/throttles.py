"""Throttles, which limit the rate of requests: for writing, searching and suggesting."""

from __future__ import annotations

import hashlib
import logging

from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from ..conf import conf
from ..exceptions import SetupError, in_one_line

logger = logging.getLogger(__name__)


class ApiThrottle(UserRateThrottle):
    """Counts requests by user, or by IP address for anonymous users. A rate of None means no limit."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            return super().allow_request(request, view)
        except Exception as error:  # each cache backend has its own errors; then allow the request
            logger.warning("Cannot count requests in the cache error=%s", in_one_line(error))
            return True

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        key = super().get_cache_key(request, view)
        # hashed, because the IP address may come from a header, and memcached rejects some characters
        return key and f"clip_search:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"

    def parse_rate(self, rate: str | None) -> tuple[int | None, int | None]:
        try:
            parsed: tuple[int | None, int | None] = super().parse_rate(rate)
        except (KeyError, ValueError) as error:
            raise SetupError(f"{rate!r} is no rate of requests. Run `manage.py check`.") from error
        return parsed


class WriteThrottle(ApiThrottle):
    """Limits requests that index or delete a product, or ask for the state of its indexing."""

    scope = "clip_search_write"

    def get_rate(self) -> str | None:
        return conf.api_throttle_rate


class SearchThrottle(ApiThrottle):
    """Limits search requests."""

    scope = "clip_search_search"

    def get_rate(self) -> str | None:
        return conf.api_search_throttle_rate


class SuggestThrottle(ApiThrottle):
    """Limits requests for suggestions, which a search box sends while a shopper types."""

    scope = "clip_search_suggest"

    def get_rate(self) -> str | None:
        return conf.api_suggest_throttle_rate
