"""The number of a database, by which two shops on one Qdrant are told apart."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class DatabaseManager(models.Manager["Database"]):
    """Reading the one row."""

    def number_of(self, using: str) -> str:
        """Return the number of a database, which it gets the first time."""
        row, _ = self.using(using).get_or_create(pk=Database.THE_ONLY)
        return str(row.number)


class Database(models.Model):
    """One row: a random number, which is written into each collection that is made for this database.

    A copy of the database has the same number; `CLIP_SEARCH["INSTALLATION"]` tells it from the original.
    """

    THE_ONLY: ClassVar[int] = 1

    number = models.UUIDField(default=uuid.uuid4, editable=False)

    objects = DatabaseManager()

    class Meta:
        verbose_name = _("database")
        verbose_name_plural = _("databases")

    def __str__(self) -> str:
        return str(self.number)
