"""A random number for each database. It tells two shops that use the same Qdrant server apart."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class DatabaseManager(models.Manager["Database"]):
    """Reads the only row of `Database`."""

    def number_of(self, using: str) -> str:
        """Return the number of the database `using`. The first call creates it."""
        row, _ = self.using(using).get_or_create(pk=Database.THE_ONLY)
        return str(row.number)


class Database(models.Model):
    """A table with one row: the random number of this database. Each of its Qdrant collections stores it too.

    A copy of the database has the same number. `CLIP_SEARCH["INSTALLATION"]` tells it from the original.
    """

    THE_ONLY: ClassVar[int] = 1

    number = models.UUIDField(default=uuid.uuid4, editable=False)

    objects = DatabaseManager()

    class Meta:
        verbose_name = _("database")
        verbose_name_plural = _("databases")

    def __str__(self) -> str:
        return str(self.number)
