"""The admin: it shows the index status of products, searches by meaning, and reindexes products."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from . import outbox, searching
from .documents.binding import BoundDocument
from .documents.registry import registry
from .exceptions import SearchUnavailable
from .models import Collection, IndexEntry, PostedProduct
from .models.tables import TablesMissing, naming_missing_tables

if TYPE_CHECKING:
    import uuid

    ModelAdmin = admin.ModelAdmin[Any]
    Rows = models.QuerySet[Any]
else:
    ModelAdmin, Rows = admin.ModelAdmin, models.QuerySet

TEXTS = (models.CharField, models.TextField)


# For the shop's own ModelAdmin classes.


class ClipSearchAdminMixin(ModelAdmin if TYPE_CHECKING else object):  # type: ignore[misc]
    """Adds search by meaning, an index status and the action "Reindex selected products" to a ModelAdmin.

    `index_status` is added as the last column, unless `list_display` already contains it.
    """

    clip_search_limit = 100
    """How many products a search by meaning adds at most to those that `search_fields` find."""

    def get_search_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...]:
        """Return the shop's `search_fields`. If there are none, return the exact fields, or else "pk".

        Django shows a search box only if this list is not empty.
        """
        key = ["pk"] if documents_of(self.model) else []
        return super().get_search_fields(request) or exact_columns(self.model) or key

    def get_search_results(self, request: HttpRequest, queryset: Rows, search_term: str) -> tuple[Rows, bool]:
        """Return the rows that Django's own search finds, and then rows that are near in meaning.

        If the user sorts by a column, all are in the order of this column. Autocompletion uses Django's
        search only, because it sends a request for each key that the user presses.
        """
        own: tuple[Rows, bool] = super().get_search_results(request, queryset, search_term)
        documents = documents_of(self.model)
        if not documents or not search_term.strip() or is_autocompletion(request):
            return own
        try:
            near = nearest(request, documents[0], search_term, queryset)[: self.clip_search_limit]
        except SearchUnavailable as error:
            self._say_unavailable(request, error)
            return own
        by_rank = ORDER_VAR not in request.GET
        request._clip_search_is_ranked = by_rank  # type: ignore[attr-defined]
        return combined(queryset, own[0], near, by_rank=by_rank), False

    def _say_unavailable(self, request: HttpRequest, error: SearchUnavailable) -> None:
        """Show a warning that search by meaning is unavailable, at most once in each request."""
        if not hasattr(request, "_clip_search_is_unavailable"):
            request._clip_search_is_unavailable = True  # type: ignore[attr-defined]
            message = _("Search by meaning is unavailable, so only matches by words are shown. %(reason)s")
            self.message_user(request, message % {"reason": error}, messages.WARNING, fail_silently=True)

    def get_list_display(self, request: HttpRequest) -> list[Any] | tuple[Any, ...]:
        columns = super().get_list_display(request)
        return columns if "index_status" in columns else [*columns, "index_status"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        base = super().get_changelist(request, **kwargs)
        return type("IndexChangeList", (IndexChangeListMixin, base), {})

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # since Django 6.1, the page of one object can have actions too
        location = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **location)
        in_list = getattr(action_location, "value", "CHANGE_LIST") == "CHANGE_LIST"
        shown = in_list and self.actions is not None and IS_POPUP_VAR not in request.GET
        if shown and self.has_change_permission(request) and (own := self.get_action("reindex_selected")):
            actions.setdefault("reindex_selected", own)
        return actions

    @admin.action(description=_("Reindex selected %(verbose_name_plural)s"), permissions=["change"])
    def reindex_selected(self, request: HttpRequest, queryset: Rows) -> None:
        """Schedule the selected rows for indexing. Their image files are read again too."""
        documents = documents_of(self.model)
        try:
            asked = [outbox.schedule(d, d.product_ids(queryset), images=True) for d in documents]
        except TablesMissing as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        count = max(asked, default=0)
        self.message_user(request, queued_message(count), messages.SUCCESS if count else messages.WARNING)

    @admin.display(description=_("Index"))
    def index_status(self, obj: Any) -> str:
        """Return the index state of a row as HTML. An error is shown as a tooltip."""
        entries = getattr(obj, "_clip_search_entries", None)
        if entries is None:  # outside of a change list: get_results() has not read them
            entries = entries_of(self.model, [obj])[obj.pk]
        return format_html_join(" ", "{}", ((badge(entry),) for entry in entries)) or "–"


class IndexChangeListMixin(ChangeList if TYPE_CHECKING else object):  # type: ignore[misc]
    """Reads the entries of all rows on a page at once.

    If the rows are in the order of a search by meaning, no column is marked as sorted.
    """

    is_ranked = False

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Rows:
        found: Rows = super().get_queryset(request, *args, **kwargs)
        self.is_ranked = getattr(request, "_clip_search_is_ranked", False)
        return found

    def get_ordering_field_columns(self) -> dict[int, str]:
        columns: dict[int, str] = {} if self.is_ranked else super().get_ordering_field_columns()
        return columns

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        try:
            with naming_missing_tables():
                entries = entries_of(self.model, list(self.result_list))
        except TablesMissing as error:
            messages.warning(request, str(error), fail_silently=True)
            entries = {}
        for row in self.result_list:
            row._clip_search_entries = entries.get(row.pk, [])


def documents_of(model: type[models.Model]) -> list[BoundDocument]:
    """Return the documents that are registered for this model or for one of its parent models."""
    return registry.of_model(model)


def exact_columns(model: type[models.Model]) -> list[str]:
    """Return the names of the model's own text fields that its documents list in `exact_fields`."""
    columns = {field.name for field in model._meta.concrete_fields if isinstance(field, TEXTS)}
    paths = (path for document in documents_of(model) for path in document.declaration.exact_fields)
    return list(dict.fromkeys(path for path in paths if path in columns))


MOST_FOUND = 1000
"""The most products that a search of the admin finds in the index."""


def is_autocompletion(request: HttpRequest) -> bool:
    """Return whether a request comes from a form field with autocompletion."""
    return request.resolver_match is not None and request.resolver_match.url_name == "autocomplete"


def nearest(request: HttpRequest, document: BoundDocument, text: str, queryset: Rows) -> list[Any]:
    """Return the primary keys of the rows that are near to `text` in meaning, best first.

    The admin may call this many times in one request, but the index is searched only once. Raises
    SearchUnavailable.
    """
    known: dict[str, list[Any]] = request.__dict__.setdefault("_clip_search_found", {})
    if text not in known:
        hits = searching.search(document, text)[:MOST_FOUND].hits()
        known[text] = document.keys_of(hit.product_id for hit in hits)
    rows = queryset.order_by().filter(**{f"{document.declaration.id_field}__in": known[text]})
    there = dict(rows.values_list(document.declaration.id_field, "pk"))
    return [there[key] for key in known[text] if key in there]


def combined(queryset: Rows, own: Rows, near: Sequence[Any], *, by_rank: bool) -> Rows:
    """Return the rows that match by words (`own`) and then the rows `near` in meaning, without duplicates.

    If `by_rank` is False, they keep the order of `queryset`.
    """
    by_words = models.Q(pk__in=own.order_by().values("pk"))
    found = queryset.filter(by_words | models.Q(pk__in=near))
    if not by_rank:
        return found
    whens = [models.When(pk=key, then=rank) for rank, key in enumerate(near)]
    rank = models.Case(*whens, default=len(near), output_field=models.IntegerField())
    words_first = models.Case(models.When(by_words, then=0), default=1, output_field=models.IntegerField())
    return found.order_by(words_first, rank, *queryset.query.order_by)


def entries_of(model: type[models.Model], rows: Sequence[Any]) -> dict[Any, list[IndexEntry]]:
    """Return {primary key: index entries} for these rows. This takes one query for each document."""
    found: dict[Any, list[IndexEntry]] = {row.pk: [] for row in rows}
    for document in documents_of(model):
        points = {row.pk: point_of(document, row) for row in rows}
        known = IndexEntry.objects.of(document).filter(uuid__in=[key for key in points.values() if key])
        by_point = {entry.uuid: entry for entry in known}
        for pk, key in points.items():
            if key in by_point:
                found[pk].append(by_point[key])
    return found


def point_of(document: BoundDocument, row: Any) -> uuid.UUID | None:
    """Return the id of the point under which a row is indexed, or None if the row is not indexed."""
    return next(iter(map(document.point_id, document.product_ids([row]))), None)


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


# Read-only ModelAdmins for the package's own models.


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
