"""The story of the demo, played over HTTP: what a shopper, a shopkeeper and another system do."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable

from demo_model_training.rendering import render

from .catalogue import CatalogueProduct, products
from .http_client import Answer, Browser
from .processes import DemoFailed
from .steps import Steps

SECONDS_TO_INDEX = 20.0
SECONDS_BETWEEN_LOOKS = 0.3
NEAR_THE_TOP = 10  # where the words say one thing and the photo another, neither comes first
NEW_NAME = "Moonlight Serenade"
LANTERN = "Midnight Express lantern"


class Story:
    """Each chapter is something that people do with the shop, and what must come of it."""

    def __init__(self, base: str, steps: Steps, *, user: str, password: str) -> None:
        self.steps = steps
        self.credentials = {"username": user, "password": password}
        self.shopper = Browser(base)
        self.staff = Browser(base)
        self.system = Browser(base, user, password)

    def play(self) -> None:
        """Play all chapters in order. Raises DemoFailed at the first that ends badly."""
        chapters = {
            "back office entered": self.log_in,
            "English query: “red mug” finds the red mugs": self.search_in_english,
            "French query: “parapluie jaune” finds the yellow umbrellas": self.search_in_french,
            "search page filtered: red bags only": self.filter,
            "photo of a green backpack finds the green backpacks": self.search_by_photo,
            "product page shows similar products": self.look_at_similar,
            "renamed product found under its new name": self.rename,
            "product with another photo found by its new colour": self.change_photo,
            "deleted product gone": self.delete,
            "endpoint index-product: posted product found": self.post,
            "endpoint index-product-with-image: posted photo found": self.post_image,
            "endpoint products/<id>: posted products gone": self.withdraw,
        }
        for title, chapter in chapters.items():
            with self.steps.step(title):
                chapter()

    def search_in_english(self) -> None:
        self.expect_first("red mug", of("mug", "red"))

    def search_in_french(self) -> None:
        self.expect_first("parapluie jaune", of("umbrella", "yellow"))

    def expect_first(self, query: str, wanted: list[CatalogueProduct]) -> None:
        """Require that all wanted products come before all others."""
        ids = {self.key(product.sku) for product in wanted}
        first = self.search(query)[: len(ids)]
        expect(set(first) == ids, f"“{query}” should find {sorted(ids)} first, but found {first}")

    def filter(self) -> None:
        """Narrow a search down on its page, whose counts say beforehand how many there will be."""
        page = expect_status(self.shopper.get("/search/", q="red", category="bags", colour="red"), 200)
        wanted = {p.sku for p in products() if (p.category.slug, p.colour) == ("bags", "red")}
        expect(set(shown(page)) == wanted, f"the red bags are {sorted(wanted)}, but shown were {shown(page)}")

    def search_by_photo(self) -> None:
        """Send the photo as the page's form does, and follow to the results."""
        files = {"photo": photo("backpack", "green")}
        page = expect_status(self.shopper.submit("/search/photo/", "photo-form", {}, files), 200)
        wanted = {product.sku for product in of("backpack", "green")}
        first = shown(page)[: len(wanted) + 1]  # one more: a picture is not a name
        expect(wanted <= set(first), f"the photo should find {sorted(wanted)} first, but found {first}")

    def look_at_similar(self) -> None:
        page = expect_status(self.shopper.get(f"/products/{of('shoe', 'red')[0].sku}/"), 200)
        expect(page.text.count('class="card"') == 8, "the product page should show eight similar products")

    def rename(self) -> None:
        """Save a new name in the back office."""
        key = self.key(of("clock", "green")[0].sku)
        expect(self.search(NEW_NAME)[:1] != [key], "the product was first before it had the name")
        self.edit(key, {"name": NEW_NAME})
        eventually(lambda: self.search(NEW_NAME)[:1] == [key], f"“{NEW_NAME}” should find {key} first")

    def change_photo(self) -> None:
        """Put the photo of a purple hat where a yellow one was."""
        key, query = self.key(of("hat", "yellow")[0].sku), "purple hat"
        expect(key not in self.search(query)[:NEAR_THE_TOP], f"“{query}” found product {key} beforehand")
        self.edit(key, {}, {"images-0-original": photo("hat", "purple")})
        eventually(
            lambda: key in self.search(query)[:NEAR_THE_TOP],
            f"“{query}” should find product {key} among the first {NEAR_THE_TOP}",
        )

    def delete(self) -> None:
        """Delete a product in the back office."""
        product = of("guitar", "blue")[0]
        key = self.key(product.sku)
        expect(self.search(product.name)[:1] == [key], f"“{product.name}” should find product {key} first")
        expect_status(self.staff.submit(f"/admin/shop/product/{key}/delete/", "", {}), 200)
        eventually(lambda: key not in self.search(product.name), f"product {key} is still found")
        expect_status(self.shopper.get(f"/products/{product.sku}/"), 404)

    def post(self) -> None:
        """Have another system post a product, which is found at once."""
        fields = {"product_id": "demo-1", "name": LANTERN, "metadata": "extra-data"}
        answer = self.system.post("/api/v1/index-product", fields | {"description": "Lights up the garden."})
        said = expect_status(answer, 200).json()
        dimension = said.pop("embedding_dimension", 0)
        documented = {"status": "success", "message": "Product demo-1 indexed successfully"}
        expect(said == documented and dimension > 0, f"unexpected: {answer.text}")
        expect(self.search(LANTERN)[:1] == ["demo-1"], f"“{LANTERN}” should find demo-1 first")

    def post_image(self) -> None:
        """Have it post a product with a photo, and ask until that is indexed."""
        fields = {"product_id": "demo-2", "name": "Teapot for two", "metadata": "{'season': 'autumn'}"}
        files = {"image_file": photo("teapot", "orange")}
        answer = self.system.post("/api/v1/index-product-with-image", fields, files)
        said = expect_status(answer, 202).json()
        expect((said["status"], said["product_id"]) == ("queued", "demo-2"), f"unexpected: {answer.text}")
        job = f"/api/v1/index-jobs/{said['job_id']}"
        eventually(lambda: self.system.get(job).json()["status"] == "indexed", f"{job} should become indexed")
        found = self.search("orange teapot")[:NEAR_THE_TOP]
        expect("demo-2" in found, f"“orange teapot” should find demo-2 near the top, but found {found}")

    def withdraw(self) -> None:
        """Have it take back what it posted."""
        self.take_back("demo-1", LANTERN)
        self.take_back("demo-2", "orange teapot")

    def take_back(self, product_id: str, query: str) -> None:
        """Delete a posted product, which the query found until now."""
        expect_status(self.system.delete(f"/api/v1/products/{product_id}"), 204)
        eventually(lambda: product_id not in self.search(query), f"“{query}” still finds {product_id}")

    def search(self, query: str) -> list[str]:
        """Return the ids that the search endpoint finds, the best first."""
        answer = expect_status(self.shopper.get("/api/v1/search", q=query), 200)
        return [hit["product_id"] for hit in answer.json()["results"]]

    def key(self, sku: str) -> str:
        """Return the primary key of a product, as the back office's list links to it."""
        page = expect_status(self.staff.get("/admin/shop/product/", sku=sku), 200)
        link = re.search(r"/admin/shop/product/(\d+)/change/", page.text)
        if link is None:
            raise DemoFailed(f"The back office does not list {sku}")
        return link[1]

    def log_in(self) -> None:
        """Enter the back office as its form asks, cookies and CSRF token included."""
        self.staff.submit("/admin/login/", "login-form", self.credentials)
        expect_status(self.staff.get("/admin/shop/product/"), 200)

    def edit(self, key: str, changes: dict[str, str], files: dict[str, bytes] | None = None) -> None:
        """Change a product in the back office."""
        path = f"/admin/shop/product/{key}/change/"
        answer = self.staff.submit(path, "product_form", changes, files)
        expect(not answer.url.endswith(path), f"the back office did not accept the change of product {key}")


def of(kind: str, colour: str) -> list[CatalogueProduct]:
    """Return the catalogue's products of a kind and a colour."""
    return [product for product in products() if (product.kind, product.colour) == (kind, colour)]


def shown(page: Answer) -> list[str]:
    """Return the SKUs of the products on a page of the shop, in their order."""
    return re.findall(r'class="card__link" href="/products/([\w-]+)/"', page.text)


def photo(kind: str, colour: str) -> bytes:
    """Return a JPEG that the shop does not have yet."""
    file = io.BytesIO()
    render(kind, colour, size=512, seed=4711).save(file, "JPEG")
    return file.getvalue()


def expect(condition: bool, otherwise: str) -> None:
    """Raise DemoFailed unless the condition holds."""
    if not condition:
        raise DemoFailed(otherwise)


def expect_status(answer: Answer, status: int) -> Answer:
    """Return the answer if it has the status, else raise DemoFailed."""
    said = f"{answer.url} answered {answer.status}: {answer.text[:500]}"
    expect(answer.status == status, f"{said}\nExpected was {status}.")
    return answer


def eventually(happened: Callable[[], bool], otherwise: str, seconds: float = SECONDS_TO_INDEX) -> None:
    """Wait until something happens that a worker has to do first."""
    deadline = time.monotonic() + seconds
    while not happened():
        expect(time.monotonic() < deadline, f"{otherwise}, after {seconds:.0f} s")
        time.sleep(SECONDS_BETWEEN_LOOKS)
