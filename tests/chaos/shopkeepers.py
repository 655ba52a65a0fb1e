"""What the shopkeepers of `python -m tests.chaos` do: saves, deletes, posts, bulk updates, rollbacks."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connections, transaction
from django.test import Client

from tests.chaos.oracle import PALETTE
from tests.conftest import picture_bytes
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Category, Product, ProductImage, Tag

WORDS = [
    "red",
    "blue",
    "oak",
    "steel",
    "mug",
    "chair",
    "lamp",
    "sofa",
    "étagère",
    "茶",
    "für",
    "2",
    "long",
    "soft",
    "café",
]
PRODUCTS = 60
CONTESTED = range(1, 6)
"""Rows that are also posted. A lock for each makes known which change of it was the last."""
POSTED = 10
"""The number of products that are only posted."""


def open_shop() -> None:
    """Create the categories, tags and the user that the shopkeepers need."""
    get_user_model().objects.create(username="staff", is_staff=True)
    for number in range(3):
        Category.objects.create(name=f"Category {number}", slug=f"slug-{number}")
        Tag.objects.create(name=f"Tag {number}")


class RolledBack(Exception):
    """What a host's own code raises to undo a transaction."""


class LastWord:
    """The products whose last change was a post, not a save."""

    def __init__(self) -> None:
        self.posted: set[str] = set()
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def had(self, product_id: str, by_post: bool) -> None:
        (self.posted.add if by_post else self.posted.discard)(product_id)


class Shopkeeper:
    """One of several threads that change the shop at once. Its steps follow from the seed."""

    def __init__(self, seed: str, last_word: LastWord) -> None:
        self.rng = random.Random(seed)
        self.last_word = last_word
        self.done: Counter[str] = Counter()
        self.steps: list[Callable[[], Any]] = [
            getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")
        ]
        self.steps += [self.do_post_over_a_row, self.do_rename_a_category] * 2

    def work(self, over: Callable[[], bool]) -> Counter[str]:
        """Take steps until `over()`. Return how often each was taken."""
        self.client = Client()
        try:
            self.client.force_login(get_user_model().objects.get())
            while not over():
                self.step()
        finally:
            connections.close_all()
        return self.done

    def step(self) -> None:
        step = self.rng.choice(self.steps)
        try:
            step()
        except (DatabaseError, RolledBack) as error:  # such as an image for a product that is gone meanwhile
            self.done[f"{step.__name__} {type(error).__name__}"] += 1
        else:
            self.done[step.__name__] += 1

    # What a step is made of.

    def words(self) -> str:
        return " ".join(self.rng.choices(WORDS, k=self.rng.randrange(1, 6)))

    def picture(self) -> bytes:
        return picture_bytes("#{:02x}{:02x}{:02x}".format(*self.rng.choice(list(PALETTE.values()))))

    def some(self, count: int = 1) -> list[Product]:
        rows = Product.objects.exclude(pk__in=CONTESTED).order_by("?")
        return list(rows[:count])

    def new(self) -> Product:
        return Product(name=self.words(), sku=self.words()[:50], price=self.rng.randrange(100))

    def show(self, product: Product) -> ProductImage:
        place = self.rng.randrange(3)
        content = ContentFile(self.picture(), name=f"{self.rng.randrange(10**9)}.png")
        return ProductImage.objects.create(product=product, position=place, original=content)

    def change(self, product: Product) -> None:
        product.name, product.description = self.words(), self.rng.choice(["", self.words()])
        product.price, product.in_stock = self.rng.randrange(100), self.rng.random() < 0.5
        product.is_public = self.rng.random() < 0.8
        product.save()

    # Saves and deletes.

    def do_create(self) -> None:
        if Product.objects.count() < PRODUCTS:
            with transaction.atomic():
                product = self.new()
                product.save()
                self.show(product)

    def do_create_bit_by_bit(self) -> None:
        if Product.objects.count() < PRODUCTS:
            product = self.new()
            product.save()
            self.show(product)

    def do_edit(self) -> None:
        for product in self.some():
            self.change(product)

    def do_price(self) -> None:
        for product in self.some(3):
            product.price = self.rng.randrange(100)
            product.save(update_fields=["price"])

    def do_delete(self) -> None:
        for product in self.some():
            product.delete()

    def do_delete_and_create_again(self) -> None:
        for product in self.some():
            key = product.pk
            product.delete()
            Product.objects.create(pk=key, name=self.words(), sku="again")

    def do_delete_in_a_transaction(self) -> None:
        with transaction.atomic():
            for product in self.some(2):
                product.delete()
            for product in self.some():
                self.change(product)
            if self.rng.random() < 0.5:
                raise RolledBack

    # Pictures and relations.

    def do_show(self) -> None:
        for product in self.some():
            self.show(product)

    def do_hide(self) -> None:
        for image in ProductImage.objects.exclude(product__in=CONTESTED).order_by("?")[:1]:
            image.delete()

    def do_show_what_is_no_picture(self) -> None:
        for product in self.some():
            broken = ContentFile(b"\x89PNG broken", name=f"{self.rng.randrange(10**9)}.png")
            ProductImage.objects.create(product=product, original=broken)

    def do_categorise(self) -> None:
        for product in self.some():
            product.category = Category.objects.order_by("?").first()
            product.save()

    def do_rename_a_category(self) -> None:
        for category in Category.objects.order_by("?")[:1]:
            category.slug = f"slug-{self.rng.randrange(1000)}"
            category.save()

    def do_tag(self) -> None:
        tag = Tag.objects.order_by("?")[0]
        for product in self.some():
            self.rng.choice([product.tags.add, product.tags.remove])(tag)

    # Transactions and what no signal sees.

    def do_roll_back(self) -> None:
        with transaction.atomic():
            self.new().save()
            for product in self.some(2):
                self.change(product)
            raise RolledBack

    def do_roll_back_to_a_savepoint(self) -> None:
        with transaction.atomic():
            for product in self.some():
                self.change(product)
            try:
                with transaction.atomic():
                    for product in self.some(2):
                        self.change(product)
                    raise RolledBack
            except RolledBack:
                pass
            for product in self.some():
                self.change(product)

    def do_bulk_create(self) -> None:
        if Product.objects.count() < PRODUCTS:
            ProductDocument.reindex(Product.objects.bulk_create(self.new() for _ in range(4)))

    def do_update(self) -> None:
        keys = [product.pk for product in self.some(4)]
        rows = Product.objects.filter(pk__in=keys)
        with transaction.atomic():
            rows.update(description=self.words())
            ProductDocument.reindex(rows)

    # The endpoints.

    def fields(self, product_id: str) -> dict[str, Any]:
        metadata = {"price": self.rng.randrange(100), "maker": self.words()}
        return {
            "product_id": product_id,
            "name": self.words(),
            "description": self.words(),
            "metadata": metadata,
        }

    def post(self, product_id: str) -> None:
        """Post a product, with an image or without: whatever is answered, it is kept."""
        fields = self.fields(product_id)
        if self.rng.random() < 0.3:
            path, kind = "/api/v1/index-product", {"content_type": "application/json"}
        else:
            path, kind = "/api/v1/index-product-with-image", {}
            image = SimpleUploadedFile("picture.png", self.picture(), content_type="image/png")
            fields |= {"image_file": image, "metadata": '{"price": 7, "maker": "posted"}'}
        answer = self.client.post(path, fields, **kind)
        assert answer.status_code in (200, 202, 503), answer.content
        self.last_word.had(product_id, by_post=True)

    def withdraw(self, product_id: str) -> None:
        answer = self.client.delete(f"/api/v1/products/{product_id}")
        assert answer.status_code in (204, 404, 503), answer.content  # 503 if only the store can know
        if answer.status_code == 204:
            self.last_word.had(product_id, by_post=False)

    def do_post(self) -> None:
        product_id = f"posted-{self.rng.randrange(POSTED)}"
        with self.last_word.locks[product_id]:
            self.post(product_id)

    def do_withdraw(self) -> None:
        product_id = f"posted-{self.rng.randrange(POSTED)}"
        with self.last_word.locks[product_id]:
            self.withdraw(product_id)

    def do_post_over_a_row(self) -> None:
        key = self.rng.choice(CONTESTED)
        with self.last_word.locks[str(key)]:
            self.rng.choice([self.post, self.withdraw, self.save_over, self.delete_over])(str(key))

    def save_over(self, product_id: str) -> None:
        category = Category.objects.order_by("?").first()
        Product(pk=int(product_id), name=self.words(), sku="contested", category=category).save()
        self.last_word.had(product_id, by_post=False)

    def delete_over(self, product_id: str) -> None:
        if Product.objects.filter(pk=product_id).delete()[0]:
            self.last_word.had(product_id, by_post=False)
