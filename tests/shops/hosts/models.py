"""Products as shops have them with other packages: tags, money, translations, a category tree, a bucket."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.db import models
from django.utils.deconstruct import deconstructible
from djmoney.models.fields import MoneyField
from parler.models import TranslatableModel, TranslatedFields
from taggit.managers import TaggableManager
from taggit.models import GenericUUIDTaggedItemBase, TaggedItemBase
from treebeard.mp_tree import MP_Node


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


@deconstructible
class Bucket(Storage):
    """As S3Storage of django-storages: it has no paths, and a file replaces that of the same name."""

    file_overwrite = True

    def _file(self, name: str) -> Path:
        return Path(settings.MEDIA_ROOT) / "bucket" / name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _open(self, name: str, mode: str = "rb") -> ContentFile:
        return ContentFile(self._file(name).read_bytes(), name=name)

    def _save(self, name: str, content: Any) -> str:
        self._file(name).parent.mkdir(parents=True, exist_ok=True)
        self._file(name).write_bytes(content.read())
        return name

    def exists(self, name: str) -> bool:
        return self._file(name).exists()

    def delete(self, name: str) -> None:
        self._file(name).unlink(missing_ok=True)


class Pictured(models.Model):
    name = models.CharField(max_length=100)
    photo = models.ImageField(storage=Bucket(), blank=True)
    uploaded = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
