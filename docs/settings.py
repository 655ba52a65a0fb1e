"""Django's settings while the site is built: nothing is connected to, and no model is loaded."""

SECRET_KEY = "docs"  # noqa: S105 -- nothing is signed with it
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "clip_search",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
CLIP_SEARCH = {
    "ENCODER": "clip_search.testing.HashingEncoder",
    "QDRANT": {"backend": "clip_search.testing.MemoryStore"},
    "QUEUE": None,
}
