"""The tables of the shop: what most shops have."""

from django.db import models


class Brand(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Category(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Article(models.Model):
    """A product as the shop shows it. Its material and its size are in the description only."""

    sku = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200)
    brand = models.ForeignKey(Brand, on_delete=models.CASCADE, related_name="articles")
    category = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="articles")
    description = models.TextField()
    photo = models.ImageField(upload_to="photos")

    def __str__(self) -> str:
        return self.name
