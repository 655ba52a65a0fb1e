"""Products as shops have them with other packages: tags, money, translations, a category tree, a bucket."""

from __future__ import annotations

import uuid

from django.db import models
from djmoney.models.fields import MoneyField
from parler.models import TranslatableModel, TranslatedFields
from taggit.managers import TaggableManager
from taggit.models import GenericUUIDTaggedItemBase, TaggedItemBase
from treebeard.mp_tree import MP_Node

from tests.doubles.storages import Bucket


class Tagged(models.Model):
    """Tagged through taggit's own table, which it shares with posters."""

    name = models.CharField(max_length=100)
    tags = TaggableManager(blank=True)

    def __str__(self) -> str:
        return self.name


class Poster(models.Model):
    name = models.CharField(max_length=100)
    tags = TaggableManager(blank=True)

    def __str__(self) -> str:
        return self.name


class KeyTag(GenericUUIDTaggedItemBase, TaggedItemBase):
    """A row of a table for objects whose keys are UUIDs."""


class TaggedByKey(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    tags = TaggableManager(blank=True, through=KeyTag)

    def __str__(self) -> str:
        return self.name


class OwnTag(TaggedItemBase):
    """A row of a table with a foreign key."""

    content_object = models.ForeignKey("TaggedByOwn", on_delete=models.CASCADE)


class TaggedByOwn(models.Model):
    name = models.CharField(max_length=100)
    tags = TaggableManager(blank=True, through=OwnTag)

    def __str__(self) -> str:
        return self.name


class Priced(models.Model):
    name = models.CharField(max_length=100)
    price = MoneyField(max_digits=10, decimal_places=2, default_currency="EUR", null=True)

    def __str__(self) -> str:
        return self.name


class Translated(TranslatableModel):
    sku = models.CharField(max_length=20)
    translations = TranslatedFields(
        name=models.CharField(max_length=100), description=models.TextField(blank=True)
    )

    def __str__(self) -> str:
        return self.sku


class Shelf(MP_Node):
    """A category in a tree."""

    slug = models.SlugField()

    def __str__(self) -> str:
        return self.slug


class Shelved(models.Model):
    name = models.CharField(max_length=100)
    shelves = models.ManyToManyField(Shelf, related_name="products")

    def __str__(self) -> str:
        return self.name

    @property
    def lineage(self) -> list[str]:
        """The slugs of its shelves and of all above them, read anew: nodes remember their parents."""
        shelves = Shelf.objects.filter(products=self)
        return sorted(
            {above.slug for shelf in shelves for above in [*Shelf.objects.get_ancestors(shelf), shelf]}
        )


class Pictured(models.Model):
    name = models.CharField(max_length=100)
    photo = models.ImageField(storage=Bucket(), blank=True)
    uploaded = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
