"""The words of a shop, with the number of products that have them: for corrections and suggestions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar

from django.db import models
from django.db.models import F, Max
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..documents.binding import BoundDocument
from ..documents.words import LONGEST_JOIN
from .paging import chunks
from .retries import retried


class WordQuerySet(models.QuerySet["Word"]):
    """Queries for the words of a document. They may be out of date: they only help with spelling."""

    def of(self, document: BoundDocument) -> WordQuerySet:
        """Return the words of this document, from the document's database."""
        return self.using(document.using).filter(document=document.name)

    @retried
    def add(self, document: BoundDocument, words: Iterable[str]) -> None:
        """Add those of the words that are new. A word that is given twice is in two products.

        Known words stay as they are: `replace()` counts their products later.
        """
        counts = Counter(words)
        for some in chunks(sorted(counts)):
            known = set(self.of(document).filter(word__in=some).values_list("word", flat=True))
            self._create(document, {word: counts[word] for word in some if word not in known})

    def last_key(self, document: BoundDocument) -> int:
        """Return the primary key of the word that was added last, or 0."""
        return self.of(document).aggregate(last=Max("pk"))["last"] or 0

    def replace(
        self, document: BoundDocument, counts: Mapping[str, int], *, added_until: int | None = None
    ) -> None:
        """Let the document have these words, {word: number of products}, and no others.

        With `added_until`, words with a higher primary key stay: they were added since the products were
        read. Only rows that differ are written, in small transactions, because SQLite has one writer. If
        there were any, the version of the vocabulary rises.
        """
        gone: list[int] = []
        changed: list[Word] = []
        known: set[str] = set()
        for row in self.of(document).iterator():
            known.add(row.word)
            if row.word not in counts:
                gone += [row.pk] if added_until is None or row.pk <= added_until else []
            elif row.products != counts[row.word]:
                row.products = counts[row.word]
                changed.append(row)
        new = {word: products for word, products in counts.items() if word not in known}
        self._create(document, new)
        for rows in chunks(changed):
            self.using(document.using).bulk_update(rows, ["products"])
        for keys in chunks(gone):
            self.using(document.using).filter(pk__in=keys).delete()
        versions = Vocabulary.objects.using(document.using)
        vocabulary, _is_new = versions.get_or_create(document=document.name)
        rise = 1 if new or changed or gone else 0
        versions.filter(pk=vocabulary.pk).update(version=F("version") + rise, counted_at=timezone.now())

    def _create(self, document: BoundDocument, counts: Mapping[str, int]) -> None:
        """Create rows of these words. Other processes may have created some of them already."""
        rows = [Word(document=document.name, word=word, products=n) for word, n in sorted(counts.items())]
        for some in chunks(rows):
            self.using(document.using).bulk_create(some, ignore_conflicts=True)


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
    """The version of a document's words. It rises when another count has changed them."""

    document = models.CharField(max_length=100, unique=True)
    version = models.PositiveIntegerField(default=0)
    counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("vocabulary")
        verbose_name_plural = _("vocabularies")

    def __str__(self) -> str:
        return f"{self.document} {self.version}"
