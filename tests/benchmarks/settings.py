"""The tests' settings, with a real model, the embedded store and a queue."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import CLIP_SEARCH, DATABASES

DEBUG = False
DATABASES["default"]["CONN_MAX_AGE"] = 60  # as in production
CLIP_SEARCH = CLIP_SEARCH | {
    "ENCODER": os.environ.get("CLIP_SEARCH_BENCH_ENCODER", "clip_search.encoders.clip.ClipEncoder"),
    "MODEL": os.environ["CLIP_SEARCH_BENCH_MODEL"],
    "DEVICE": os.environ["CLIP_SEARCH_BENCH_DEVICE"],
    "API_THROTTLE_RATE": None,
}
SILENCED_SYSTEM_CHECKS = ["clip_search.W"]
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}}
