"""The mixin for a shop's own ModelAdmin classes: search, index status, an action, and explanations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from .. import outbox
from ..documents.binding import BoundDocument
from ..documents.registry import registry
from ..exceptions import SearchUnavailable
from ..models import IndexEntry
from ..models.tables import TablesMissing, naming_missing_tables
from .entries import badge, queued_message
from .explaining import CHANGE_FORM, url_name, why_page
from .searching import MeaningFilter, combined, is_autocompletion, nearest

if TYPE_CHECKING:
    import uuid

    ModelAdmin = admin.ModelAdmin[Any]
    Rows = models.QuerySet[Any]
else:
    ModelAdmin, Rows = admin.ModelAdmin, models.QuerySet

TEXTS = (models.CharField, models.TextField)


class ClipSearchAdminMixin(ModelAdmin if TYPE_CHECKING else object):  # type: ignore[misc]
    """Adds the index to a ModelAdmin: its search, an index status, an action to reindex, and explanations.

    `index_status` is added as the last column, unless `list_display` already contains it.
    """

    clip_search_limit = 100
    """How many products the index adds at most to those that `search_fields` find."""
    clip_search_meaning = False
    """Whether every search is also by meaning. Otherwise the list has a filter to ask for it."""

    def get_search_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...]:
        """Return the shop's `search_fields`. If there are none, return the exact fields, or else "pk".

        Django shows a search box only if this list is not empty.
        """
        key = ["pk"] if documents_of(self.model) else []
        return super().get_search_fields(request) or exact_columns(self.model) or key

    def get_search_results(self, request: HttpRequest, queryset: Rows, search_term: str) -> tuple[Rows, bool]:
        """Return the rows that Django's own search finds, and then others that have the words.

        If the user asks for it, rows that are near in meaning follow. If the user sorts by a column, all are
        in the order of this column. Autocompletion uses Django's search only, because it sends a request for
        each key that the user presses.
        """
        own: tuple[Rows, bool] = super().get_search_results(request, queryset, search_term)
        documents = documents_of(self.model)
        if not documents or not search_term.strip() or is_autocompletion(request):
            return own
        by_meaning = self.clip_search_meaning or request.GET.get(MeaningFilter.parameter_name) == "1"
        limit = self.clip_search_limit
        try:
            near = nearest(request, documents[0], search_term, queryset, limit=limit, by_meaning=by_meaning)
        except SearchUnavailable as error:
            self._say_unavailable(request, error)
            return own
        by_rank = ORDER_VAR not in request.GET
        request._clip_search_is_ranked = by_rank  # type: ignore[attr-defined]
        return combined(queryset, own[0], near, by_rank=by_rank), False

    def _say_unavailable(self, request: HttpRequest, error: SearchUnavailable) -> None:
        """Show a warning that the index is unavailable, at most once in each request."""
        if not hasattr(request, "_clip_search_is_unavailable"):
            request._clip_search_is_unavailable = True  # type: ignore[attr-defined]
            message = _(
                "The index is unavailable, so only what Django's own search finds is shown. %(reason)s"
            )
            self.message_user(request, message % {"reason": error}, messages.WARNING, fail_silently=True)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the shop's filters and, while the user searches, the one to search by meaning too."""
        filters = super().get_list_filter(request)
        is_asked = request.GET.get(SEARCH_VAR, "").strip() or MeaningFilter.parameter_name in request.GET
        if not is_asked or self.clip_search_meaning or not documents_of(self.model):
            return filters
        return [MeaningFilter, *filters]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.clip_search_why_view)
        return [path("<path:object_id>/why/", view, name=url_name(self.opts)), *super().get_urls()]

    def clip_search_why_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the page "Search standing" of a row: where it stands for a query, and why."""
        obj = self.get_object(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        documents = documents_of(self.model)
        if obj is None or not documents:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return missing
        return why_page(self, request, obj, documents)

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Add a link to "Search standing" to Django's own template. A template of the shop stays as it is."""
        response: Any = super().render_change_form(request, *args, **kwargs)
        templates: Any = getattr(response, "template_name", None)
        if (
            isinstance(templates, list)
            and templates[-1] == "admin/change_form.html"
            and documents_of(self.model)
        ):
            response.template_name = [*templates[:-1], CHANGE_FORM]
        return response  # type: ignore[no-any-return]

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

    If the rows are in the order of a search, no column is marked as sorted.
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
