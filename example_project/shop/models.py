"""The models of the shop: categories, products and pictures."""

from __future__ import annotations

from django.core.validators import MinValueValidator, validate_slug
from django.db import models
from django.urls import reverse
from django.utils import timezone


class Category(models.Model):
    """A category; each product belongs to one. Categories have two levels."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        related_name="children",
        null=True,
        blank=True,
        limit_choices_to={"parent": None},
    )

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:category", args=[self.slug])

    @property
    def path(self) -> str:
        """Return the slugs from the top of the tree to this category, such as "home/kitchen"."""
        return f"{self.parent.slug}/{self.slug}" if self.parent else self.slug

    @property
    def path_of_names(self) -> str:
        """Return the names from the top of the tree to this category, such as "Home/Kitchen"."""
        return f"{self.parent.name}/{self.name}" if self.parent else self.name


class ProductQuerySet(models.QuerySet["Product"]):
    def published(self) -> ProductQuerySet:
        """Return the products that shoppers may see."""
        return self.filter(is_published=True)

    def for_cards(self) -> ProductQuerySet:
        """Return the products with category and pictures, so that product cards need no further queries."""
        return self.select_related("category__parent").prefetch_related("images")


class Product(models.Model):
    """A product."""

    name = models.CharField(max_length=200)
    sku = models.CharField("SKU", max_length=64, unique=True, validators=[validate_slug])
    description = models.TextField(blank=True)
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    colour = models.CharField(max_length=30, blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, validators=[MinValueValidator(0)])
    stock = models.PositiveIntegerField(default=0)
    is_published = models.BooleanField("published", default=True)
    created = models.DateTimeField(default=timezone.now, editable=False)
    updated = models.DateTimeField(auto_now=True)

    objects = ProductQuerySet.as_manager()

    class Meta:
        ordering = ["name", "sku"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:product", args=[self.sku])

    @property
    def in_stock(self) -> bool:
        return self.stock > 0

    @property
    def picture(self) -> ProductImage | None:
        """Return the first picture. Makes no query if `images` was prefetched."""
        return next(iter(self.images.all()), None)


class ProductImage(models.Model):
    """A picture of a product. The one with the lowest position comes first."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="images")
    original = models.ImageField(upload_to="products/")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return f"{self.product}, picture {self.position}"
