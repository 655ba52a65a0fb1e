"""The runs of `clip_reindex`, so that `clip_status` can tell when the last one ended and what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar, Final

from django.db import DatabaseError, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..documents.binding import BoundDocument
from ..exceptions import in_one_line

KEPT: Final = 100
"""How many runs of a document are kept."""


class RunQuerySet(models.QuerySet["Run"]):
    """Queries for the runs of a document."""

    def of(self, document: BoundDocument) -> RunQuerySet:
        """Return the runs of this document, from the document's database."""
        return self.using(document.using).filter(document=document.name)

    @contextmanager
    def recorded(self, document: BoundDocument) -> Iterator[Run]:
        """Record a run while the block runs. The block sets its `counts` and its `error`.

        If the block raises, that is the error. Old runs of the document are deleted.
        """
        run = self.using(document.using).create(document=document.name)
        try:
            yield run
        except BaseException as error:
            run.error = in_one_line(error) or type(error).__name__
            raise
        finally:
            run.ended_at = timezone.now()
            with suppress(DatabaseError):  # otherwise it would hide the error of the block
                run.save()
                self._forget_old(document)

    def _forget_old(self, document: BoundDocument) -> None:
        runs = self.of(document)
        last = runs.order_by("-started_at", "-pk")[KEPT - 1 : KEPT].first()
        if last:
            runs.filter(started_at__lt=last.started_at).delete()


class Run(models.Model):
    """One run of `clip_reindex` for one document. `ended_at` is None while it runs, or if it was killed."""

    document = models.CharField(max_length=100)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    counts = models.JSONField(default=dict, help_text=_("the numbers of its report"))
    error = models.TextField(blank=True, help_text=_("what failed"))

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        indexes: ClassVar = [models.Index(fields=["document", "started_at"], name="clip_search_runs")]

    def __str__(self) -> str:
        return f"{self.document} {self.started_at:%Y-%m-%d %H:%M}"
