"""The app: finds the documents, connects the signal receivers and registers the checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class ClipSearchConfig(AppConfig):
    """The app. Starting it loads no model and no torch, and uses no network."""

    name = "clip_search"
    verbose_name = _("Search by meaning and picture")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401
        from .documents.registry import registry

        autodiscover_modules("clip_documents")
        for document in registry:
            receivers.connect(document)
