"""A shop shaped like django-oscar: variants, images and stock in models of their own, a category tree."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Concat, Substr

STEP = 4
"""Characters of a category's path for each level, as treebeard has it."""


class Category(models.Model):
    """A tree by materialised paths: "0001", "00010001", "00010002", …"""

    name = models.CharField(max_length=100)
    slug = models.SlugField()
    path = models.CharField(max_length=200, unique=True)
    depth = models.PositiveIntegerField(default=1)
    numchild = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("path",)

    def __str__(self) -> str:
        return self.slug

    @classmethod
    def add(cls, slug: str, parent: Category | None = None) -> Category:
        """Add a category, a root or the last child of another."""
        return cls.objects.create(name=slug.title(), slug=slug, **cls._place(parent))

    @classmethod
    def _place(cls, parent: Category | None) -> dict[str, Any]:
        """Return the next free place below a category, or among the roots; its path was never used."""
        path, depth, number = "", 1, cls.objects.filter(depth=1).count() + 1
        if parent:
            cls.objects.filter(pk=parent.pk).update(numchild=F("numchild") + 1)
            parent.refresh_from_db()
            path, depth, number = parent.path, parent.depth + 1, parent.numchild
        while cls.objects.filter(path=f"{path}{number:0{STEP}}").exists():
            number += 1
        return {"path": f"{path}{number:0{STEP}}", "depth": depth}

    @property
    def lineage(self) -> models.QuerySet[Category]:
        """This category and those above it."""
        ends = range(STEP, len(self.path) + 1, STEP)
        return Category.objects.filter(path__in=[self.path[:end] for end in ends])

    @property
    def branch(self) -> models.QuerySet[Category]:
        """This category and those below it."""
        return Category.objects.filter(path__startswith=self.path)

    def move(self, parent: Category | None) -> None:
        """Move the whole branch, in one UPDATE that no signal tells of, and say so as a host does."""
        place = self._place(parent)
        tail, shift = Substr("path", len(self.path) + 1), place["depth"] - self.depth
        self.branch.update(path=Concat(Value(place["path"]), tail), depth=F("depth") + shift)
        self.refresh_from_db()
        self.reindex()

    def rename(self, slug: str) -> None:
        """Products below the branch's other categories show this name too: no relation leads there."""
        self.slug = slug
        self.save()
        self.reindex()

    def reindex(self) -> None:
        from .clip_documents import CatalogueDocument

        CatalogueDocument.reindex(Product.objects.filter(categories__in=self.branch))


class Product(models.Model):
    """Standalone, a parent that is shown, or a child that is sold: a child is public if its parent is."""

    class Structure(models.TextChoices):
        STANDALONE = "standalone"
        PARENT = "parent"
        CHILD = "child"

    structure = models.CharField(max_length=10, choices=Structure, default=Structure.STANDALONE)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )
    upc = models.CharField(max_length=64)
    title = models.CharField(max_length=255, blank=True)
    description = models.TextField(blank=True)
    is_public = models.BooleanField(default=True)
    categories = models.ManyToManyField(Category, through="ProductCategory", related_name="products")
    recommended = models.ManyToManyField("self", symmetrical=False, related_name="recommended_by")
    bought_with = models.ManyToManyField("self")

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.upc

    @property
    def stock(self) -> models.QuerySet[StockRecord]:
        return StockRecord.objects.filter(models.Q(product=self) | models.Q(product__parent=self)).order_by(
            "pk"
        )

    def available(self) -> bool:
        return any(record.num_in_stock > 0 for record in self.stock)

    @property
    def shelves(self) -> list[str]:
        """The slugs of its categories and of all above them."""
        return sorted({above.slug for category in self.categories.all() for above in category.lineage})


class ProductCategory(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE)
    category = models.ForeignKey(Category, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return f"{self.product_id} in {self.category_id}"


class ProductImage(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="images")
    original = models.ImageField(upload_to="oscar")
    display_order = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("display_order", "pk")

    def __str__(self) -> str:
        return str(self.original)


class StockRecord(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="stockrecords")
    price = models.DecimalField(max_digits=8, decimal_places=2)
    num_in_stock = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.num_in_stock} of {self.product_id}"
