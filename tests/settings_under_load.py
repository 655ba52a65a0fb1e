"""The tests' settings for a web server under load: no limit on requests, and no debugging."""

from tests.settings import *  # noqa: F403
from tests.settings import CLIP_SEARCH

DEBUG = False
CLIP_SEARCH |= {"API_THROTTLE_RATE": None}
