"""The words of a shop, with the number of products that have them: for corrections and suggestions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from django.db import models, transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from ..documents.binding import BoundDocument
from ..documents.words import LONGEST_JOIN
from .paging import chunks


class WordQuerySet(models.QuerySet["Word"]):
    """Queries for the words of a document. They may be out of date: they only help with spelling."""

    def of(self, document: BoundDocument) -> WordQuerySet:
        """Return the words of this document, from the document's database."""
        return self.using(document.using).filter(document=document.name)

    def add(self, document: BoundDocument, words: Iterable[str]) -> None:
        """Add words that are new. `replace()` counts their products later."""
        new = [Word(document=document.name, word=word, products=1) for word in sorted(words)]
        for some in chunks(new):
            self.using(document.using).bulk_create(some, ignore_conflicts=True)

    def replace(self, document: BoundDocument, counts: Mapping[str, int]) -> None:
        """Replace all words of a document by {word: number of products}."""
        with transaction.atomic(using=document.using):
            self.of(document).delete()
            rows = [Word(document=document.name, word=word, products=n) for word, n in sorted(counts.items())]
            for some in chunks(rows):
                self.using(document.using).bulk_create(some, ignore_conflicts=True)
            versions = Vocabulary.objects.using(document.using)
            vocabulary, _is_new = versions.get_or_create(document=document.name)
            versions.filter(pk=vocabulary.pk).update(version=F("version") + 1)


class Word(models.Model):
    """A word of the texts of a document's products, folded, as it is written there."""

    document = models.CharField(max_length=100)
    word = models.CharField(max_length=LONGEST_JOIN)
    products = models.PositiveIntegerField(help_text=_("how many products had the word at the last count"))

    objects = WordQuerySet.as_manager()

    class Meta:
        verbose_name = _("word")
        verbose_name_plural = _("words")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["document", "word"], name="clip_search_one_word"),
        ]

    def __str__(self) -> str:
        return self.word


class Vocabulary(models.Model):
    """The version of a document's words. It rises when they are counted again."""

    document = models.CharField(max_length=100, unique=True)
    version = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("vocabulary")
        verbose_name_plural = _("vocabularies")

    def __str__(self) -> str:
        return f"{self.document} {self.version}"
