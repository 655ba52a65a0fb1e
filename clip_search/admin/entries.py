"""Read-only pages of the package's own models, and the state of an index entry as it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .. import outbox
from ..documents.registry import registry
from ..models import Collection, IndexEntry, PostedProduct
from ..models.tables import TablesMissing, naming_missing_tables

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    Rows = models.QuerySet[Any]
else:
    ModelAdmin, Rows = admin.ModelAdmin, models.QuerySet


def queued_message(count: int) -> str:
    """Return a message for the user: how many products were queued."""
    if not count:
        return str(_("Nothing was queued, because none of these rows is to be indexed."))
    message = ngettext(
        "%(count)d product was queued for indexing.", "%(count)d products were queued for indexing.", count
    )
    return message % {"count": count}


def badge(entry: IndexEntry) -> str:
    """Return the state of an entry as HTML. Its error is the tooltip."""
    state = _("being indexed") if entry.is_being_indexed else entry.get_state_display()
    html = '<span class="clip-search-{}" title="{}">{}</span>'
    return format_html(html, entry.state, entry.error, state)


class ReadOnlyAdmin(ModelAdmin):
    """Forbids adding, changing and deleting, because only the package itself writes to these tables."""

    show_full_result_count = False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        try:
            with naming_missing_tables():
                return super().changelist_view(request, extra_context)
        except TablesMissing as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect(f"{self.admin_site.name}:index")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(IndexEntry)
class IndexEntryAdmin(ReadOnlyAdmin):
    """Read-only list of the `IndexEntry` rows in the default database, with the action "Index again"."""

    list_display = (
        "product_id",
        "document",
        "status",
        "source",
        "revision",
        "indexed_revision",
        "attempts",
        "problem",
        "updated_at",
        "indexed_at",
    )
    list_filter = ("state", "document", "source")
    search_fields = ("product_id",)
    ordering = ("-pk",)
    actions = ("index_again",)

    def has_index_again_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may run "Index again": this needs the permission to change entries."""
        return super(ReadOnlyAdmin, self).has_change_permission(request)

    @admin.action(description=_("Index again"), permissions=["index_again"])
    def index_again(self, request: HttpRequest, queryset: Rows) -> None:
        """Schedule the selected entries for indexing. Their image files are read again too."""
        count = index_again(queryset)
        self.message_user(request, queued_message(count), messages.SUCCESS if count else messages.WARNING)

    @admin.display(description=_("state"), ordering="state")
    def status(self, entry: IndexEntry) -> str:
        return badge(entry)

    @admin.display(description=_("error"))
    def problem(self, entry: IndexEntry) -> str:
        return entry.error[:100]


def index_again(entries: Rows) -> int:
    """Schedule the products of these entries for indexing. Return how many.

    Each keeps its source. Entries of a document that is no longer registered are skipped.
    """
    rows = entries.order_by("document", "source").values_list("document", "source", "product_id")
    count = 0
    for (name, source), group in groupby(rows, key=lambda row: row[:2]):
        document = registry.get(name)
        if document is not None:
            count += outbox.schedule(document, product_ids_of(group), source=source, images=True)
    return count


def product_ids_of(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    return [product_id for _document, _source, product_id in rows]


@admin.register(Collection)
class CollectionAdmin(ReadOnlyAdmin):
    """Read-only list of the `Collection` rows."""

    list_display = (
        "name",
        "document",
        "installation",
        "generation",
        "state",
        "dimension",
        "fingerprint",
        "created_at",
    )
    list_filter = ("state", "document", "installation")


@admin.register(PostedProduct)
class PostedProductAdmin(ReadOnlyAdmin):
    """Read-only list of the `PostedProduct` rows."""

    list_display = ("product_id", "document", "name", "created_at", "updated_at")
    list_filter = ("document",)
    search_fields = ("product_id", "name")
    ordering = ("-pk",)
    fields = (
        "product_id",
        "document",
        "name",
        "description",
        "metadata",
        "image_name",
        "created_at",
        "updated_at",
    )
    readonly_fields = ("image_name",)

    @admin.display(description=_("image"))
    def image_name(self, posted: PostedProduct) -> str:
        """Return the name of the image file without a link, because a client uploaded the file."""
        return posted.image.name or "–"
