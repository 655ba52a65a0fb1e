"""A shop shaped like django-oscar declares itself in a few lines, and the index stays in step with it.

After every step the whole index is compared with what an oracle works out from the rows alone.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.db import transaction
from PIL import Image

from clip_search.documents.registry import registry
from clip_search.models import Collection, IndexEntry
from clip_search.stores import get_store
from clip_search.testing import HashingEncoder
from tests.shops.oscarshop.clip_documents import CatalogueDocument
from tests.shops.oscarshop.models import Category, Product, ProductCategory, ProductImage, StockRecord

DOCUMENT = registry.of_class(CatalogueDocument)
COLOURS = ("red", "blue", "green", "yellow")

pytestmark = pytest.mark.django_db(transaction=True)


# The oracle.


def expected() -> dict[str, dict[str, Any]]:
    """Work out from the rows what the index should hold: id → what is said, shown and filtered by."""
    rows = list(Product.objects.order_by("pk").values())
    return {
        str(row["id"]): expected_of(row, rows) for row in rows if row["is_public"] and not row["parent_id"]
    }


def expected_of(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    family = [row, *(child for child in rows if child["parent_id"] == row["id"])]
    keys = [member["id"] for member in family]
    texts = [row["title"], row["description"], *(member["title"] for member in family[1:])]
    stock = list(StockRecord.objects.filter(product_id__in=keys).values_list("price", "num_in_stock"))
    images = ProductImage.objects.filter(product_id=row["id"]).order_by("display_order", "pk")[:2]
    return {
        "text": ". ".join(text for text in texts if text),
        "exact": {member["upc"] for member in family},
        "prices": sorted(float(price) for price, _ in stock),
        "in_stock": any(number for _, number in stock),
        "shelves": expected_shelves(row["id"]),
        "images": [image.original.name for image in images],
    }


def expected_shelves(product_id: int) -> list[str]:
    own = set(ProductCategory.objects.filter(product_id=product_id).values_list("category__path", flat=True))
    tree = Category.objects.values_list("path", "slug")
    return sorted(slug for path, slug in tree if any(leaf.startswith(path) for leaf in own))


# The index.


def stored() -> dict[str, Any]:
    """Return the points of the catalogue by product id, tombstones left out."""
    collection = Collection.objects.of(DOCUMENT).filter(state="live").first()
    if collection is None:
        return {}
    points = get_store().scroll(collection.name)
    whole = get_store().get(collection.name, [p.id for p in points if not p.stamp.removed], vectors=True)
    return {point.stamp.product_id: point for point in whole.values()}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def said(point: Any) -> dict[str, Any]:
    """Return what a point says, in the oracle's words; its text and pictures are compared by vectors."""
    return {
        "exact": set(point.stamp.exact),
        "prices": sorted(as_list(point.payload.get("price"))),
        "in_stock": point.payload["in_stock"],
        "shelves": as_list(point.payload.get("category")),
        "images": [stamp.signature.split(":")[0] for stamp in point.stamp.images],
    }


def colour_vectors(names: list[str]) -> np.ndarray:
    files = [ProductImage.objects.filter(original=name)[0].original.path for name in names]
    pixels = [np.asarray(Image.open(file).convert("RGB").resize((16, 16))) for file in files]
    return HashingEncoder().embed_images(pixels)


def check() -> None:
    """Compare the whole index with the oracle."""
    goal, points = expected(), stored()
    assert points.keys() == goal.keys()
    for key, want in goal.items():
        text = want.pop("text")
        assert said(points[key]) == want
        if text:
            assert np.allclose(
                points[key].vectors["text"], HashingEncoder().embed_texts([text])[0], atol=1e-5
            )
        shown = colour_vectors(want["images"])
        assert np.allclose(points[key].vectors.get("image", np.zeros((0, 256))), shown, atol=1e-5)
    entries = IndexEntry.objects.of(DOCUMENT)
    assert not entries.exclude(state__in=["indexed", "removed"]).exists()


# The shop.


@pytest.fixture
def add_image(picture) -> Callable[..., ProductImage]:
    def add(product: Product, colour: str, order: int = 0) -> ProductImage:
        file = picture(colour, name=f"{colour}.png")
        return ProductImage.objects.create(product=product, original=file, display_order=order)

    return add


@pytest.fixture
def shop(add_image) -> dict[str, Any]:
    """Two shirts with sizes, a mug, and a tree: clothes > shirts > formal; kitchen."""
    clothes, kitchen = Category.add("clothes"), Category.add("kitchen")
    shirts = Category.add("shirts", clothes)
    formal = Category.add("formal", shirts)
    rows = {"clothes": clothes, "kitchen": kitchen, "shirts": shirts, "formal": formal}
    for upc, shelf, colour in (("polo", shirts, "red"), ("tux", formal, "blue")):
        parent = Product.objects.create(upc=upc, title=upc.title(), structure="parent")
        ProductCategory.objects.create(product=parent, category=shelf)
        rows[upc], rows[f"{upc} image"] = parent, add_image(parent, colour)
        for size in "sm":
            child = Product.objects.create(
                upc=upc + size, title=f"size {size}", structure="child", parent=parent
            )
            rows[upc + size] = child
            rows[f"{upc}{size} stock"] = StockRecord.objects.create(product=child, price=10, num_in_stock=1)
    rows["mug"] = Product.objects.create(upc="mug", title="Mug", description="for tea")
    rows["mug"].categories.add(kitchen)
    rows["mug stock"] = StockRecord.objects.create(product=rows["mug"], price="4.50")
    check()
    return rows


def test_the_declaration_has_at_most_20_lines():
    lines = inspect.getsource(CatalogueDocument).strip().splitlines()
    assert 0 < len([line for line in lines if line.strip()]) <= 20


def test_only_parents_and_standalone_products_have_points(shop):
    assert stored().keys() == {str(shop[name].pk) for name in ("polo", "tux", "mug")}


def test_a_product_changes(shop):
    shop["mug"].title = "Cup"
    shop["mug"].save()
    check()
    shop["polo"].description = "cotton"
    shop["polo"].save(update_fields=["description"])
    check()


def test_a_child_changes(shop):
    shop["polos"].title, shop["polos"].upc = "tiny", "polo0"
    shop["polos"].save()
    check()
    assert stored()[str(shop["polo"].pk)].stamp.exact == ("polo", "polo0", "polom")


def test_a_child_comes_and_goes(shop):
    child = Product.objects.create(upc="polol", title="size l", structure="child", parent=shop["polo"])
    check()
    StockRecord.objects.create(product=child, price=12, num_in_stock=3)
    check()
    child.delete()
    check()


def test_a_child_moves_to_another_parent(shop):
    shop["polos"].parent = shop["tux"]
    shop["polos"].save()
    check()


def test_a_child_becomes_a_product_of_its_own_and_again_a_child(shop):
    child = shop["polos"]
    child.parent, child.structure = None, "standalone"
    child.save()
    check()
    assert str(child.pk) in stored()
    child.parent, child.structure = shop["tux"], "child"
    child.save()
    check()
    assert str(child.pk) not in stored()


def test_stock_changes_moves_and_goes(shop):
    stock = shop["polos stock"]
    stock.num_in_stock, stock.price = 0, "8.99"
    stock.save()
    check()
    stock.product = shop["mug"]
    stock.save()
    check()
    stock.product = shop["tuxm"]
    stock.save(update_fields=["product"])
    check()
    stock.delete()
    check()
    StockRecord.objects.all().delete()
    check()


def test_images_are_added_reordered_replaced_and_removed(shop, add_image, picture):
    first = add_image(shop["polo"], "green", order=1)
    check()
    third = add_image(shop["polo"], "yellow", order=5)
    check()  # the third is not shown
    shop["polo image"].display_order = 9
    shop["polo image"].save()
    check()
    first.original = picture("blue", name="other.png")
    first.save()
    check()
    third.delete()
    check()


def test_an_image_moves_to_another_product(shop):
    image = shop["polo image"]
    image.product = shop["mug"]
    image.save()
    check()
    assert "image" not in stored()[str(shop["polo"].pk)].vectors


def test_a_product_moves_to_another_category(shop):
    link = ProductCategory.objects.get(product=shop["mug"])
    link.category = shop["formal"]
    link.save()
    check()
    link.product = shop["polo"]
    link.save()
    check()
    link.delete()
    check()


def test_categories_by_the_many_to_many_relation(shop):
    mug = shop["mug"]
    mug.categories.set([shop["shirts"]])
    check()
    shop["kitchen"].products.add(mug, shop["tux"])
    check()
    shop["kitchen"].products.clear()
    check()
    mug.categories.clear()
    check()


def test_a_category_is_renamed(shop):
    shop["kitchen"].slug = "cooking"
    shop["kitchen"].save()
    check()
    shop["clothes"].rename("apparel")
    check()
    assert stored()[str(shop["tux"].pk)].payload["category"] == ["apparel", "formal", "shirts"]


def test_a_branch_of_categories_moves(shop):
    shop["shirts"].move(shop["kitchen"])
    check()
    assert stored()[str(shop["tux"].pk)].payload["category"] == ["formal", "kitchen", "shirts"]
    shop["shirts"].move(None)
    check()
    Category.objects.get(slug="kitchen").move(Category.objects.get(slug="formal"))
    check()


def test_a_branch_of_categories_goes(shop):
    shop["shirts"].branch.delete()
    check()
    assert "category" not in stored()[str(shop["polo"].pk)].payload


def test_a_parent_is_unpublished_and_published(shop):
    polo = shop["polo"]
    polo.is_public = False
    polo.save()
    check()
    assert str(polo.pk) not in stored()
    shop["polos"].save()
    shop["polos stock"].save()
    check()
    polo.is_public = True
    polo.save(update_fields=["is_public"])
    check()


def test_a_parent_goes_and_takes_its_family_along(shop):
    shop["polo"].delete()
    check()
    assert not Product.objects.filter(upc__startswith="polo").exists()
    assert stored().keys() == {str(shop[name].pk) for name in ("tux", "mug")}


def test_everything_goes(shop):
    Product.objects.all().delete()
    check()
    assert stored() == {}


def test_a_transaction_that_rolls_back(shop):
    before = stored()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        shop["mug"].delete()
        shop["polos"].parent = shop["tux"]
        shop["polos"].save()
        shop["shirts"].move(shop["kitchen"])
        1 / 0  # noqa: B018
    check()
    assert {key: point.stamp for key, point in stored().items()} == {
        key: p.stamp for key, p in before.items()
    }


def test_several_changes_in_one_transaction(shop):
    with transaction.atomic():
        shop["polos"].parent = shop["tux"]
        shop["polos"].save()
        shop["polo"].delete()
        shop["mug"].categories.set([shop["formal"]])
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            shop["tux"].delete()
            1 / 0  # noqa: B018
    check()


def test_bulk_changes_and_what_a_host_calls(shop, picture):
    Product.objects.filter(upc="mug").update(title="Beaker")
    Product.objects.bulk_create([Product(upc="pot", title="Pot"), Product(upc="pan", title="Pan")])
    CatalogueDocument.reindex(Product.objects.filter(upc__in=["mug", "pot", "pan"]))
    check()
    Product.objects.filter(upc__in=["polos", "polom"]).update(title="one size")
    CatalogueDocument.reindex(Product.objects.filter(upc="polos"))
    check()


def test_nothing_is_embedded_twice(shop, monkeypatch):
    """A price, a category or a save without a change costs no model."""
    monkeypatch.setattr(HashingEncoder, "embed_texts", lambda self, texts: pytest.fail(f"embeds {texts}"))
    monkeypatch.setattr(HashingEncoder, "embed_images", lambda self, images: pytest.fail("embeds an image"))
    shop["polos stock"].price = 99
    shop["polos stock"].save()
    shop["shirts"].rename("tops")
    for row in Product.objects.all():
        row.save()
    monkeypatch.undo()
    check()


# Anything, in any order.


class Walk:
    """Random steps of a shop's day."""

    def __init__(self, seed: int, add_image: Callable[..., ProductImage]) -> None:
        self.rng = random.Random(seed)
        self.add_image = add_image
        self.number = 0

    def one(self, queryset: Any) -> Any:
        found = list(queryset.order_by("pk"))
        return self.rng.choice(found) if found else None

    def step(self) -> None:
        steps = sorted(name for name in dir(self) if name.startswith("do_"))
        getattr(self, self.rng.choice(steps))()

    def save(self, row: Any, **values: Any) -> None:
        for name, value in values.items() if row else ():
            setattr(row, name, value)
        if row:
            row.save()

    def do_create(self) -> None:
        self.number += 1
        parent = self.one(Product.objects.filter(parent=None)) if self.rng.random() < 0.5 else None
        Product.objects.create(upc=f"u{self.number}", title=f"Title {self.number}", parent=parent)

    def do_edit(self) -> None:
        self.number += 1
        self.save(self.one(Product.objects), title=f"Title {self.number}", is_public=self.rng.random() < 0.8)

    def do_move_a_child(self) -> None:
        child = self.one(Product.objects.exclude(parent=None))
        self.save(child, parent=self.rng.choice([None, self.one(Product.objects.filter(parent=None))]))

    def do_delete(self) -> None:
        row = self.one(self.rng.choice([Product, StockRecord, ProductImage, ProductCategory]).objects)
        if row and self.rng.random() < 0.5:
            row.delete()

    def do_stock(self) -> None:
        product = self.one(Product.objects)
        record = self.one(StockRecord.objects) if self.rng.random() < 0.5 else StockRecord(price=5)
        if product:
            self.save(
                record, product=product, num_in_stock=self.rng.randrange(3), price=self.rng.randrange(50)
            )

    def do_image(self) -> None:
        if product := self.one(Product.objects):
            self.add_image(product, self.rng.choice(COLOURS), self.rng.randrange(9))

    def do_move_an_image(self) -> None:
        if product := self.one(Product.objects):
            self.save(self.one(ProductImage.objects), product=product, display_order=self.rng.randrange(9))

    def do_shelve(self) -> None:
        product, shelf = self.one(Product.objects), self.one(Category.objects)
        if product and shelf:
            self.rng.choice([product.categories.add, product.categories.remove])(shelf)

    def do_tree(self) -> None:
        self.number += 1
        shelf, parent = self.one(Category.objects), self.one(Category.objects)
        if shelf is None or self.rng.random() < 0.4:
            Category.add(f"c{self.number}", parent)
        elif self.rng.random() < 0.3:
            shelf.rename(f"c{self.number}")
        elif self.rng.random() < 0.2:
            shelf.branch.delete()
        elif parent is None or not parent.path.startswith(shelf.path):
            shelf.move(parent)


@pytest.mark.sql
@pytest.mark.parametrize("seed", range(3))
def test_a_random_walk(shop, add_image, seed):
    walk = Walk(seed, add_image)
    for _ in range(40):
        walk.step()
        check()
