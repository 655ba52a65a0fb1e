"""Settings of the example shop: for development by default, for production by environment variables.

django-clip-search needs its apps in `INSTALLED_APPS`, and `RQ_QUEUES`, `RQ` and `CLIP_SEARCH`. compose.yaml
sets the environment variables of production.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    """Return the variable CLIP_SEARCH_DEMO_<name>, or the default if it is unset or empty.

    compose.yaml sets variables to "" if the user does not set them.
    """
    return os.environ.get(f"CLIP_SEARCH_DEMO_{name}") or default


# The demo's small model. CLIP_SEARCH_DEMO_MODEL=sentence-transformers/clip-ViT-B-32 uses the real one.
MODEL = env("MODEL", str(BASE_DIR / "demo_model"))

# All files that the shop writes. One folder for each model, because an index works only with its own model.
DATA = Path(env("DATA", str(BASE_DIR / "var" / Path(MODEL).name))).resolve()
DATA.mkdir(parents=True, exist_ok=True)  # SQLite and the embedded Qdrant do not create it

DEBUG = env("DEBUG", "yes") == "yes"
SECRET_KEY = env("SECRET_KEY", "for-development-only-because-it-is-public")
ALLOWED_HOSTS = env("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")
CSRF_TRUSTED_ORIGINS = [origin for origin in env("TRUSTED_ORIGINS").split(",") if origin]

SILENCED_SYSTEM_CHECKS = env("SILENCED_CHECKS").split(",")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_rq",
    "clip_search",
    "shop",
    "demo",  # the command `manage.py demo` and its catalogue; your shop does not need it
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "storefront.urls"
WSGI_APPLICATION = "storefront.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database() -> dict[str, Any]:
    """Return the settings of PostgreSQL if its host is set, else of an SQLite for several processes."""
    if env("POSTGRES_HOST"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": env("POSTGRES_HOST"),
            "PORT": env("POSTGRES_PORT", "5432"),
            "NAME": env("POSTGRES_DB", "storefront"),
            "USER": env("POSTGRES_USER", "storefront"),
            "PASSWORD": env("POSTGRES_PASSWORD"),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
        }
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "storefront.sqlite3",
        "OPTIONS": {
            # By default, a transaction that reads first and then writes fails if another process has written
            # in between, whatever the timeout. IMMEDIATE locks at the start of the transaction, and WAL lets
            # other processes read meanwhile.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
        },
    }


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA / "static"
MEDIA_URL = "media/"
MEDIA_ROOT = DATA / "media"

REDIS = {"URL": env("REDIS_URL", "redis://127.0.0.1:6379/0")}
RQ_QUEUES = {
    "default": REDIS | {"SERIALIZER": "rq.serializers.JSONSerializer"},
    "nightly": REDIS,  # for rqcron, which can write jobs with RQ's default serializer only
}
RQ = {"WORKER_CLASS": "clip_search.worker.EmbeddingWorker"}
NIGHTLY_RUN = env("NIGHTLY_RUN", "0 3 * * *")  # storefront/cron.py

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        # First, so that a client without credentials gets 401 with a challenge instead of 403.
        "rest_framework.authentication.BasicAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    # Proxies in front of this server. Unset, a client could forge X-Forwarded-For, and no limit would hold.
    "NUM_PROXIES": int(env("PROXIES", "0")),
}


def qdrant() -> dict[str, Any]:
    """Return the Qdrant server if its URL is set, else the embedded store. Of a cluster, name all nodes."""
    if env("QDRANT_URL"):
        return {"url": env("QDRANT_URL").split(","), "api_key": env("QDRANT_API_KEY") or None}
    return {"path": DATA / "qdrant"}


CLIP_SEARCH = {
    "QDRANT": qdrant(),
    "COLLECTION_OPTIONS": json.loads(env("COLLECTION_OPTIONS", "{}")),  # such as shards and their copies
    "INSTALLATION": env("INSTALLATION"),
    "MODEL": MODEL,
    "API_SEARCH_THROTTLE_RATE": "600/min",  # for each client; `manage.py demo --check` polls
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s  %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # Without Django's own handlers, which would write each line a second time.
        "django": {"handlers": [], "level": "INFO"},
        "clip_search": {"level": env("LOG_LEVEL", "INFO")},
        "rq.cron": {"level": env("LOG_LEVEL", "INFO")},
        "rq.worker": {"level": env("LOG_LEVEL", "INFO")},
        "shop": {"level": env("LOG_LEVEL", "INFO")},
    },
}
