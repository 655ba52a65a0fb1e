"""The table of Qdrant collections: which document each belongs to, and which one is searched."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import conf
from ..documents.binding import BoundDocument
from ..exceptions import ForeignCollection


class CollectionQuerySet(models.QuerySet["Collection"]):
    """Queries for the collections of a document."""

    def of(self, document: BoundDocument) -> CollectionQuerySet:
        """Return the collections of this document, from the document's database."""
        return self.using(document.using).filter(document=document.name)

    def live(self, document: BoundDocument) -> Collection | None:
        """Return the collection that searches of this document use, or None.

        This takes one query only, because every search calls it.
        """
        state = Collection.State.LIVE
        return next(iter(self.using(document.using).filter(document=document.name, state=state)), None)

    def active(self) -> list[Collection]:
        """Return the collections that indexing writes to: the live one, then the one being built."""
        found = list(self.filter(state__in=ACTIVE))
        return sorted(found, key=lambda collection: ACTIVE.index(collection.state))


class Collection(models.Model):
    """A Qdrant collection: its document, the CLIP model that built it, and whether it is searched."""

    class State(models.TextChoices):
        CREATING = "creating", _("being created")
        BUILDING = "building", _("being built")
        LIVE = "live", _("live")
        RETIRED = "retired", _("retired")

    document = models.CharField(max_length=100)
    installation = models.CharField(
        max_length=100,
        blank=True,
        default="",
        help_text=_("the installation that made it, and may change it"),
    )
    name = models.CharField(max_length=200, unique=True)
    generation = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State)
    fingerprint = models.CharField(max_length=64)
    dimension = models.PositiveIntegerField()
    multiple_images = models.BooleanField(
        null=True, help_text=_("whether a point has a vector for each of several images")
    )
    has_words = models.BooleanField(
        default=False, help_text=_("whether every point has its words, so that searches may compare words")
    )
    holder = models.UUIDField(null=True, blank=True)
    lease = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(
        default=0, help_text=_("how often the store has failed to create it")
    )
    not_before = models.DateTimeField(null=True, blank=True, help_text=_("when its creation is tried again"))
    refusal = models.TextField(
        blank=True, default="", help_text=_("why the store refused the last write, until a write succeeds")
    )
    refused_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = CollectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("collection")
        verbose_name_plural = _("collections")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["document", "state"], name="clip_search_one_per_state"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        """Whether indexing writes to the collection: it is live, or a rebuild builds it."""
        return self.state in ACTIVE

    @property
    def is_ours(self) -> bool:
        """Whether this installation created the collection, and so may search, change and delete it.

        A copy of another installation's database contains rows of collections that are not ours.
        """
        return self.installation == conf.installation

    def check_installation(self) -> None:
        """Raise ForeignCollection if the collection belongs to another installation."""
        if self.is_ours:
            return
        remedy = (
            f"Run `manage.py clip_rebuild {self.document}`: it builds a new collection and leaves this one."
        )
        if not self.installation:
            remedy += (
                f" If nobody else uses it, `manage.py clip_rebuild {self.document} --adopt` takes it over."
            )
        raise ForeignCollection(
            f"The collection {self.name} belongs to the installation {self.installation!r}, but "
            f"CLIP_SEARCH['INSTALLATION'] is {conf.installation!r}. {remedy}"
        )


ACTIVE = (Collection.State.LIVE, Collection.State.BUILDING)
"""The states of collections that indexing writes to."""
