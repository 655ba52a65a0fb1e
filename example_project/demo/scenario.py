"""An end-to-end check over HTTP: what shoppers, staff and another system do with the shop."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from decimal import Decimal

from demo_model_training.rendering import render

from .catalogue import CatalogueProduct, products
from .http_client import HttpClient, Response
from .processes import DemoFailed
from .steps import Steps

SECONDS_TO_INDEX = 20.0
SECONDS_BETWEEN_TRIES = 0.3
NEW_NAME = "Moonlight Serenade"
LANTERN = "Midnight Express lantern"
SAMOVAR = "Samovar for two"


class Scenario:
    """The steps of the check, on a shop that has the demo's catalogue."""

    def __init__(self, base: str, steps: Steps, *, user: str, password: str) -> None:
        self.steps = steps
        self.credentials = {"username": user, "password": password}
        self.shopper = HttpClient(base)
        self.staff = HttpClient(base)
        self.other_system = HttpClient(base, user, password)

    def run(self) -> None:
        """Run all steps in order. Raise DemoFailed at the first one that fails."""
        steps = {
            "back office entered": self.log_in,
            "words: “red mug” finds the red mugs and nothing else": self.search_by_words,
            "brand: “lisbon” finds the products of this brand": self.search_by_brand,
            "SKU: “mug red 01” finds this product": self.search_by_sku,
            "typo: “red teapto” shows the red teapots": self.misspell,
            "nothing found: “asdfgh” finds nothing": self.find_nothing,
            "French: for “parapluie jaune”, the closest are the yellow umbrellas": self.search_in_french,
            "search page filtered: red bags only": self.filter,
            "search page sorted: mugs by their price": self.sort,
            "search box: “red mu” suggests “red mug”": self.suggest,
            "photo of a green backpack finds the green backpacks": self.search_by_photo,
            "product page shows similar products": self.view_similar_products,
            "renamed product found under its new name": self.rename,
            "product with another photo found by this photo": self.change_photo,
            "deleted product gone": self.delete,
            "endpoint index-product: posted product found": self.post,
            "endpoint index-product-with-image: posted photo found": self.post_with_image,
            "endpoint products/<id>: posted products gone": self.delete_posted,
        }
        for title, step in steps.items():
            with self.steps.step(title):
                step()

    def search_by_words(self) -> None:
        ids = {self.product_id(product.sku) for product in products_of("mug", "red")}
        found = self.search("red mug")
        expect(set(found) == ids, f"“red mug” should find {sorted(ids)}, but found {found}")

    def search_by_brand(self) -> None:
        expected = {product.sku for product in products() if product.name.startswith("Lisbon ")}
        first = skus_on(self.search_page(q="lisbon"))[: len(expected)]
        expect(set(first) == expected, f"“lisbon” should find {sorted(expected)} first, but found {first}")

    def search_by_sku(self) -> None:
        found = skus_on(self.search_page(q="mug red 01"))
        expect(found == ["MUG-RED-01"], f"“mug red 01” should find MUG-RED-01 only, but found {found}")

    def misspell(self) -> None:
        page = self.search_page(q="red teapto")
        expected = {product.sku for product in products_of("teapot", "red")}
        found = skus_on(page)
        expect(set(found) == expected, f"the red teapots are {sorted(expected)}, but the page shows {found}")
        expect("Showing results for" in page.text, "the page should say that it corrected the words")

    def find_nothing(self) -> None:
        found = self.search("asdfgh")
        expect(not found, f"“asdfgh” should find nothing, but found {found}")
        expect("Nothing has these words" in self.search_page(q="asdfgh").text, "the page should say so")

    def search_in_french(self) -> None:
        """Search in a language that no product's text has. The demo's model knows French."""
        page = self.search_page(q="parapluie jaune")
        expected = {product.sku for product in products_of("umbrella", "yellow")}
        first = skus_on(page)[: len(expected)]
        expect("Nothing has these words" in page.text, "the page should say that nothing has these words")
        expect(set(first) == expected, f"the closest should be {sorted(expected)}, but are {first}")

    def filter(self) -> None:
        page = self.search_page(q="red", category="fashion/bags", colour="red")
        expected = {p.sku for p in products() if (p.category.slug, p.colour) == ("bags", "red")}
        found = skus_on(page)
        expect(set(found) == expected, f"the red bags are {sorted(expected)}, but the page shows {found}")
        expect(f">{len(expected)} products<" in page.text, f"the page should count {len(expected)} products")

    def sort(self) -> None:
        page = self.search_page(q="mug", order="price")
        mugs = sorted(p.price for p in products() if p.kind == "mug")
        prices = [Decimal(price) for price in re.findall(r'"card__price">€([\d.]+)', page.text)]
        expect(prices == mugs, f"the mugs cost {mugs}, but the page shows {prices}")

    def suggest(self) -> None:
        response = expect_status(self.shopper.get("/api/v1/suggest", q="red mu"), 200)
        expect("red mug" in response.json()["queries"], f"unexpected response: {response.text}")

    def search_by_photo(self) -> None:
        """Send a photo with the page's form, and follow the redirect to the results."""
        files = {"photo": new_photo("backpack", "green")}
        page = expect_status(self.shopper.submit("/search/photo/", "photo-form", {}, files), 200)
        expected = {product.sku for product in products_of("backpack", "green")}
        first = skus_on(page)[: len(expected) + 1]  # one more, because the model is not perfect
        expect(expected <= set(first), f"the photo should find {sorted(expected)} first, but found {first}")

    def view_similar_products(self) -> None:
        page = expect_status(self.shopper.get(f"/products/{products_of('shoe', 'red')[0].sku}/"), 200)
        expect(page.text.count('class="card"') == 8, "the product page should show eight similar products")

    def rename(self) -> None:
        """Save a new name in the back office."""
        product_id = self.product_id(products_of("clock", "green")[0].sku)
        expect(
            self.search(NEW_NAME)[:1] != [product_id], f"“{NEW_NAME}” found {product_id} before the change"
        )
        self.edit(product_id, {"name": NEW_NAME})
        eventually(
            lambda: self.search(NEW_NAME)[:1] == [product_id], f"“{NEW_NAME}” should find {product_id} first"
        )

    def change_photo(self) -> None:
        """Replace the photo of a yellow hat by that of a purple one."""
        product_id, photo = self.product_id(products_of("hat", "yellow")[0].sku), new_photo("hat", "purple")
        expect(self.looks_like(photo)[:1] != [product_id], f"the photo found {product_id} before the change")
        self.edit(product_id, {}, {"images-0-original": photo})
        eventually(
            lambda: self.looks_like(photo)[:1] == [product_id], f"the photo should find {product_id} first"
        )

    def delete(self) -> None:
        """Delete a product in the back office."""
        product = products_of("guitar", "blue")[0]
        product_id = self.product_id(product.sku)
        expect(
            self.search(product.name)[:1] == [product_id], f"“{product.name}” should find {product_id} first"
        )
        expect_status(self.staff.submit(f"/admin/shop/product/{product_id}/delete/", "", {}), 200)
        eventually(lambda: product_id not in self.search(product.name), f"{product_id} is still found")
        expect_status(self.shopper.get(f"/products/{product.sku}/"), 404)

    def post(self) -> None:
        """Post a product from another system. It must be found when the response has come."""
        fields = {"product_id": "demo-1", "name": LANTERN, "metadata": "extra-data"}
        fields["description"] = "Lights up the garden."
        response = self.other_system.post("/api/v1/index-product", fields)
        body = expect_status(response, 200).json()
        dimension = body.pop("embedding_dimension", 0)
        documented = {"status": "success", "message": "Product demo-1 indexed successfully"}
        expect(body == documented and dimension > 0, f"unexpected response: {response.text}")
        expect(self.search(LANTERN)[:1] == ["demo-1"], f"“{LANTERN}” should find demo-1 first")

    def post_with_image(self) -> None:
        """Post a product with a photo from another system, and poll until it is indexed."""
        fields = {"product_id": "demo-2", "name": SAMOVAR, "metadata": "{'season': 'autumn'}"}
        photo = new_photo("teapot", "orange")
        response = self.other_system.post("/api/v1/index-product-with-image", fields, {"image_file": photo})
        body = expect_status(response, 202).json()
        expect(
            (body["status"], body["product_id"]) == ("queued", "demo-2"),
            f"unexpected response: {response.text}",
        )
        job = f"/api/v1/index-jobs/{body['job_id']}"
        eventually(
            lambda: self.other_system.get(job).json()["status"] == "indexed", f"{job} should become indexed"
        )
        first = self.looks_like(photo)[:1]
        expect(first == ["demo-2"], f"the photo should find demo-2 first, but found {first}")
        expect(self.search("samovar") == ["demo-2"], "“samovar” should find demo-2 only")

    def delete_posted(self) -> None:
        """Delete the posted products from the other system."""
        for product_id, query in (("demo-1", LANTERN), ("demo-2", SAMOVAR)):
            expect_status(self.other_system.delete(f"/api/v1/products/{product_id}"), 204)
            eventually(self.is_gone(product_id, query), f"“{query}” still finds {product_id}")

    def is_gone(self, product_id: str, query: str) -> Callable[[], bool]:
        """Return a test whether the query does not find the product."""
        return lambda: product_id not in self.search(query)

    def search(self, query: str) -> list[str]:
        """Return the ids that the search endpoint finds, the best match first."""
        response = expect_status(self.shopper.get("/api/v1/search", q=query), 200)
        return [hit["product_id"] for hit in response.json()["results"]]

    def looks_like(self, photo: bytes) -> list[str]:
        """Return the ids that the search endpoint finds for a photo, the best match first."""
        response = expect_status(self.shopper.post("/api/v1/search", {}, {"image_file": photo}), 200)
        return [hit["product_id"] for hit in response.json()["results"]]

    def search_page(self, **query: str) -> Response:
        """Return a page of search results as the shop shows it."""
        return expect_status(self.shopper.get("/search/", **query), 200)

    def product_id(self, sku: str) -> str:
        """Return a product's primary key, as the back office's list links to it."""
        page = expect_status(self.staff.get("/admin/shop/product/", sku=sku), 200)
        link = re.search(r"/admin/shop/product/(\d+)/change/", page.text)
        if link is None:
            raise DemoFailed(f"The back office does not list {sku}")
        return link[1]

    def log_in(self) -> None:
        """Log in to the back office with its form, cookies and CSRF token included."""
        self.staff.submit("/admin/login/", "login-form", self.credentials)
        expect_status(self.staff.get("/admin/shop/product/"), 200)

    def edit(self, product_id: str, changes: dict[str, str], files: dict[str, bytes] | None = None) -> None:
        """Change a product in the back office."""
        path = f"/admin/shop/product/{product_id}/change/"
        response = self.staff.submit(path, "product_form", changes, files)
        expect(not response.url.endswith(path), f"the back office did not accept the change of {product_id}")


def products_of(kind: str, colour: str) -> list[CatalogueProduct]:
    """Return the catalogue's products of a kind and a colour."""
    return [product for product in products() if (product.kind, product.colour) == (kind, colour)]


def skus_on(page: Response) -> list[str]:
    """Return the SKUs of the products that a page of the shop shows, in their order."""
    return re.findall(r'class="card__link" href="/products/([\w-]+)/"', page.text)


def new_photo(kind: str, colour: str) -> bytes:
    """Return a JPEG that the shop does not have yet."""
    file = io.BytesIO()
    render(kind, colour, size=512, seed=4711).save(file, "JPEG")
    return file.getvalue()


def expect(condition: bool, message: str) -> None:
    """Raise DemoFailed with the message unless the condition holds."""
    if not condition:
        raise DemoFailed(message)


def expect_status(response: Response, status: int) -> Response:
    """Return the response. Raise DemoFailed if it has another status."""
    actual = f"{response.url} returned {response.status}: {response.text[:500]}"
    expect(response.status == status, f"{actual}\nExpected {status}.")
    return response


def eventually(condition: Callable[[], bool], message: str, seconds: float = SECONDS_TO_INDEX) -> None:
    """Wait until the condition holds. Raise DemoFailed with the message after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < deadline, f"{message}, after {seconds:.0f} s")
        time.sleep(SECONDS_BETWEEN_TRIES)
