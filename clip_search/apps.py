"""The app configuration, which registers documents, signal receivers and system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class ClipSearchConfig(AppConfig):
    """Imports each app's `clip_documents` module, and connects the receivers of their documents.

    This loads neither torch nor a CLIP model, and uses no network.
    """

    name = "clip_search"
    verbose_name = _("Search by meaning and picture")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401
        from .checks.documents import check_types
        from .conf import hide_password
        from .documents.registry import registry

        hide_password()
        with registry.discovering():
            autodiscover_modules("clip_documents")
        for document in registry:
            if not any(check_types(document)):  # otherwise a system check reports the document
                receivers.connect(document)
