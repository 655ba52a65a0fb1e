"""Settings of the shop: the demo's CLIP model, with another model for texts if asked for; no queue."""

import os

from tests.benchmarks.shop import DEMO_MODEL
from tests.settings import *  # noqa: F403
from tests.settings import DATA

from .shop import LANGUAGE, TEXT_MODEL

DEBUG = False
INSTALLED_APPS = ["django.contrib.contenttypes", "clip_search", "tests.benchmarks.branded"]
LANGUAGE_CODE = os.environ[LANGUAGE]
CLIP_SEARCH = {"MODEL": str(DEMO_MODEL), "QDRANT": {"path": str(DATA / "qdrant")}, "QUEUE": None}
if TEXT_MODEL in os.environ:
    CLIP_SEARCH["ENCODER"] = "tests.benchmarks.branded.two_models.TwoModels"
