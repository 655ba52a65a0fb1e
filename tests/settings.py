"""Settings of the test suite: SQLite unless CLIP_SEARCH_TEST_DATABASE_URL names another database.

``postgresql://user:password@host:port/name?isolation=repeatable+read``, or ``mysql://…``.
"""

import os
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qs, urlparse

ENGINES = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
DATA = Path(os.environ.get("CLIP_SEARCH_TEST_DATA") or tempfile.mkdtemp(prefix="clip-search-tests-"))


def database(url: str) -> dict[str, object]:
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("CLIP_SEARCH_TEST_DATABASE_NAME") or DATA / "db.sqlite3",
            "TEST": {"NAME": DATA / "test.sqlite3"},
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    parts = urlparse(url)
    (isolation,) = parse_qs(parts.query).get("isolation", ["read committed"])
    return {
        "ENGINE": f"django.db.backends.{ENGINES[parts.scheme]}",
        "OPTIONS": isolated(ENGINES[parts.scheme], isolation),
        "NAME": os.environ.get("CLIP_SEARCH_TEST_DATABASE_NAME") or parts.path.lstrip("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


def isolated(engine: str, level: str) -> dict[str, object]:
    """Return the options that give transactions this isolation, and make the driver known to Django."""
    if engine == "postgresql":
        levels = import_module("psycopg").IsolationLevel
        return {"isolation_level": levels[level.upper().replace(" ", "_")]}
    with suppress(ImportError):  # mysqlclient needs none of this
        import_module("pymysql").install_as_MySQLdb()
    return {"isolation_level": level}


SECRET_KEY = "tests"
DEBUG = True
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
DATABASES = {
    "default": database(os.environ.get("CLIP_SEARCH_TEST_DATABASE_URL", "")),
    "other": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CLIP_SEARCH_TEST_OTHER_DATABASE_NAME") or DATA / "other.sqlite3",
        "TEST": {"NAME": DATA / "test_other.sqlite3"},
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30},
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_rq",
    "rest_framework",
    "drf_spectacular",
    "clip_search",
    "tests.shops.shop",
    "tests.shops.oscarshop",
    # packages that shops use, and the products that tests/hardening/hosts has with them
    "djmoney",
    "parler",
    "taggit",
    "treebeard",
    "tests.shops.hosts",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MEDIA_ROOT = os.environ.get("CLIP_SEARCH_TEST_MEDIA") or DATA / "media"
STATIC_URL = "static/"
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.BasicAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "NUM_PROXIES": 0,
}
RQ_QUEUES = {
    "default": {
        "HOST": "127.0.0.1",
        "PORT": int(os.environ.get("CLIP_SEARCH_TEST_REDIS_PORT", "1")),
        "DB": 0,
        "SERIALIZER": os.environ.get("CLIP_SEARCH_TEST_SERIALIZER") or "rq.serializers.JSONSerializer",
    },
}
RQ = {"WORKER_CLASS": "clip_search.worker.EmbeddingWorker"}
CLIP_SEARCH: dict[str, object] = {
    "QDRANT": {"backend": "clip_search.testing.MemoryStore"},
    "ENCODER": os.environ.get("CLIP_SEARCH_TEST_ENCODER", "clip_search.testing.HashingEncoder"),
    "API_DOCUMENT": "product",
    "QUEUE": None,
}
if qdrant_path := os.environ.get("CLIP_SEARCH_TEST_QDRANT_PATH"):
    CLIP_SEARCH["QDRANT"] = {"path": qdrant_path}
if stub := os.environ.get("CLIP_SEARCH_TEST_QDRANT_STUB"):
    CLIP_SEARCH["QDRANT"] = {
        "url": stub.split() if " " in stub else stub,
        "timeout": int(os.environ.get("CLIP_SEARCH_TEST_QDRANT_TIMEOUT", "1")),
        "headers": {"X-Client": os.environ.get("CLIP_SEARCH_TEST_QDRANT_CLIENT", "")},
    }
if queue := os.environ.get("CLIP_SEARCH_TEST_QUEUE"):
    CLIP_SEARCH["QUEUE"] = queue
