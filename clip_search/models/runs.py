"""The runs of `clip_reindex`, so that `clip_status` can tell when the last one ended and what it did."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Run(models.Model):
    """One run of `clip_reindex` for one document. `ended_at` is None while it runs, or if it was killed."""

    document = models.CharField(max_length=100)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    counts = models.JSONField(default=dict, help_text=_("the numbers of its report"))
    error = models.TextField(blank=True, help_text=_("what failed"))

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        indexes: ClassVar = [models.Index(fields=["document", "started_at"], name="clip_search_runs")]

    def __str__(self) -> str:
        return f"{self.document} {self.started_at:%Y-%m-%d %H:%M}"
