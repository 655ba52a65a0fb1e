"""The example shop in a real browser: what shoppers do with it, with a mouse, a keyboard and no script.

The shop that `manage.py demo` opens runs beside the tests, with its worker, its queue and the demo model.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management.base import OutputWrapper

from tests.conftest import PATIENCE, ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Request

CHROMIUM = shutil.which("chromium")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timing,
    pytest.mark.model,
    pytest.mark.skipif(not CHROMIUM, reason="There is no chromium on PATH. Try: apt-get install chromium"),
]

OFFLINE = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PAGE_SIZE = 24
PAGES = {
    "catalogue": "/",
    "search": "/search/",
    "results": "/search/?q=mug&category=home/kitchen&price_to=25&order=price",
    "corrected": "/search/?q=red+teapto",
    "nothing left": "/search/?q=red+mug&category=music&price_to=25",
    "nothing found": "/search/?q=asdfgh",
    "photo": "/search/photo/",
    "photo that is gone": "/search/photo/nothing/",
    "product": "/products/MUG-RED-01/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A shop that is open, and where its index lies."""

    base: str
    index: Path
    photo: Callable[..., bytes]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    data = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "example_project")
        from demo.management.commands.demo import open_shop
        from demo.processes import Supervisor, free_port
        from demo.steps import Steps
        from demo_model_training.rendering import Pose, render

        def photo(kind: str, colour: str, pattern: str = "plain", size: int = 480) -> bytes:
            """Return a JPEG of a product in a pose that no picture of the shop has."""
            pose = Pose(rotation=12, scale=0.85, flip=True)
            file = io.BytesIO()
            picture = render(kind, colour, pattern, size=480, seed=815, pose=pose)
            picture.resize((size, size)).save(file, "JPEG", quality=98)
            return file.getvalue()

        with Supervisor(data) as supervisor:
            supervisor.environment["DJANGO_SETTINGS_MODULE"] = "storefront.settings"
            base = open_shop(supervisor, Steps(OutputWrapper(io.StringIO())), free_port(), strict=True)
            yield Shop(base=base, index=data / "qdrant", photo=photo)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        yield browser
        browser.close()


@pytest.fixture
def open_page(shop: Shop, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page of the shop in a browser that knows nothing yet.

    Afterwards no script may have failed, and nothing may have been asked of anybody else.
    """
    contexts: list[Any] = []
    faults: list[str] = []

    def watch(request: Request) -> None:
        if not request.url.startswith((shop.base, "data:")):
            faults.append(f"asked for {request.url}")

    def start(path: str = "/", **options: Any) -> Page:
        context = chromium.new_context(base_url=shop.base, **options)
        context.set_default_timeout(PATIENCE * 1000)
        context.on("request", watch)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(path)
        return page

    yield start
    for context in contexts:
        context.close()
    assert not faults


def names(page: Page) -> list[str]:
    """Return what the products on the page are called, in their order."""
    return [name.lower() for name in page.locator("main .card__name").all_inner_texts()]


def total(page: Page) -> int:
    """Return how many products the page says there are."""
    return int(page.locator("main .count").inner_text().split()[0])


def prices(page: Page) -> list[float]:
    """Return the prices of the products on the page, in their order."""
    texts = page.locator("main .card__price").all_inner_texts()
    return [float(text.removeprefix("€").split()[0]) for text in texts]


def search_for(page: Page, text: str) -> None:
    """Type into the search box, and search."""
    page.get_by_role("combobox", name="Search").fill(text)
    page.get_by_role("combobox", name="Search").press("Enter")
    page.wait_for_url("**/search/?q=*")


def sort(page: Page, by: str) -> None:
    """Choose an order from the menu."""
    page.get_by_text("Sort by:").click()
    page.get_by_role("link", name=by).click()
    page.locator(".order summary", has_text=by).wait_for()


def option(page: Page, label: str) -> Locator:
    """Return the link of the filter with this label."""
    exactly = re.compile(rf"^{re.escape(label)}$")
    return page.locator(".option", has=page.locator(".option__label", has_text=exactly))


def choose(page: Page, label: str) -> int:
    """Choose a filter. Returns how many products it said it had."""
    said = int(option(page, label).locator(".option__count").inner_text().split()[0].split("\n")[0])
    option(page, label).click()
    page.get_by_role("link", name=f"Remove the filter {label}").wait_for()
    return said


def files(content: bytes, name: str = "photo.jpg") -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def send_photo(page: Page, content: bytes) -> None:
    """Choose a photo in the head of the page, which sends it."""
    page.get_by_text("Search by photo").click()
    page.get_by_label("Upload a photo").set_input_files(files(content))
    page.wait_for_url("**/search/photo/*/")


def is_red_mug(name: str) -> bool:
    return "red" in name and ("mug" in name or "cup" in name)


def is_near_the_top(page: Page, colour: str, *nouns: str) -> bool:
    """Return whether one of the first three products is of this colour and one of these kinds."""
    return any(colour in name and any(noun in name for noun in nouns) for name in names(page)[:3])


# Words, suggestions, typos.


def test_words_find_what_they_say(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("combobox", name="Search").fill("red mug")
    page.get_by_role("button", name="Search", exact=True).click()
    assert page.get_by_role("heading", level=1).inner_text() == "“red mug”"
    assert all(map(is_red_mug, names(page)))
    assert total(page) == len(names(page)) > 0
    assert page.get_by_role("combobox", name="Search").input_value() == "red mug"


def test_what_is_typed_is_completed_by_a_suggestion(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("combobox", name="Search").press_sequentially("green backp")
    page.get_by_role("option", name="green backpack", exact=True).click()
    page.wait_for_url("**/search/?q=green+backpack")
    assert all("green" in name for name in names(page))


def test_a_category_can_be_chosen_from_the_suggestions(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("combobox", name="Search").press_sequentially("kitch")
    page.get_by_role("group", name="Categories").get_by_role("option").first.click()
    page.get_by_role("link", name="Remove the filter Kitchen").wait_for()
    assert set(page.locator(".card__category").all_inner_texts()) == {"Kitchen"}


@pytest.mark.parametrize("typed", ["MUG-RED-01", "mug red 01", "mugred01"])
def test_a_sku_finds_its_product_only(open_page: Callable[..., Page], typed: str) -> None:
    page = open_page()
    search_for(page, typed)
    assert page.locator("main .card__link").get_attribute("href") == "/products/MUG-RED-01/"
    assert total(page) == 1


def test_a_typo_is_corrected_and_says_so(open_page: Callable[..., Page]) -> None:
    page = open_page()
    search_for(page, "red teapto")
    assert page.locator(".reading").inner_text() == (
        "Showing results for red teapot. Search for red teapto instead."
    )
    assert all("red" in name and "teapot" in name for name in names(page))
    assert total(page) == len(names(page)) > 0
    page.get_by_role("link", name="red teapto").click()
    page.get_by_role("heading", name="Nothing has these words. Closest:").wait_for()


def test_a_word_that_no_product_has_is_left_out_and_named(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=bergen+red+mug+xylophone")
    assert page.locator(".reading").inner_text() == (
        "No product has all these words: “xylophone” was left out."
    )
    assert names(page) == ["bergen red mug"]


@pytest.mark.parametrize("words", ["asdfgh", "parapluie jaune"])
def test_nothing_found_shows_the_closest_and_counts_nothing(
    open_page: Callable[..., Page], words: str
) -> None:
    page = open_page(f"/search/?q={words}")
    assert page.get_by_role("heading", name="Nothing has these words. Closest:").is_visible()
    assert 0 < len(names(page)) <= 12
    for part in (".count", ".filters", ".order", ".pages"):
        assert page.locator(part).count() == 0
    if words == "parapluie jaune":  # the model knows French, the texts do not
        assert "yellow umbrella" in names(page)[0]


# Filters, order, pages.


def test_filters_say_how_many_products_one_will_see(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=striped")
    everything = total(page)
    assert choose(page, "Kitchen") == total(page) < everything
    in_kitchen = total(page)
    assert choose(page, "In stock") == total(page) < in_kitchen
    assert choose(page, "Blue") == total(page)
    assert set(page.locator(".card__category").all_inner_texts()) == {"Kitchen"}
    assert page.get_by_role("combobox", name="Search").input_value() == "striped"


def test_a_category_and_one_above_it_replace_each_other(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=red")
    home = choose(page, "Home")
    assert choose(page, "Kitchen") == total(page) < home
    assert page.get_by_role("link", name="Remove the filter Home").count() == 0
    assert choose(page, "Home") == total(page) == home


def test_a_price_range_is_filtered_by_and_can_be_removed(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=striped&colour=red")
    before = total(page)
    low, high = (
        float(page.get_by_label(label).get_attribute("placeholder") or "") for label in ("From €", "To €")
    )
    assert (low, high) == (min(prices(page)), max(prices(page)))
    page.get_by_label("From €").fill("20")
    page.get_by_label("To €").fill("100")
    page.get_by_role("button", name="Apply the price").click()
    page.get_by_role("link", name="Remove the filter €20 to €100").wait_for()
    assert 0 < total(page) == len(prices(page)) < before
    assert all(20 <= price <= 100 for price in prices(page))
    assert all("red" in name for name in names(page))
    assert page.get_by_label("From €").input_value() == "20"
    page.get_by_role("link", name="Remove the filter €20 to €100").click()
    page.get_by_role("link", name="Remove the filter €20 to €100").wait_for(state="detached")
    assert total(page) == before


def test_the_order_changes_and_what_is_found_does_not(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=mug&category=home/kitchen")
    found, count = Counter(names(page)), total(page)
    sort(page, "Price, low to high")
    assert prices(page) == sorted(prices(page))
    sort(page, "Price, high to low")
    assert prices(page) == sorted(prices(page), reverse=True)
    sort(page, "Newest")
    assert (Counter(names(page)), total(page)) == (found, count)
    assert page.get_by_role("link", name="Remove the filter Kitchen").count() == 1


def test_values_of_one_filter_add_up_and_each_can_be_removed(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=striped")
    red = choose(page, "Red")
    assert choose(page, "Blue") + red == total(page)
    page.get_by_role("link", name="Remove the filter Blue").click()
    assert total(page) == red
    assert all("red" in name for name in names(page))
    assert option(page, "Red").get_attribute("aria-current") == "true"
    option(page, "Red").click()
    assert page.locator(".option[aria-current=true]").count() == 0


def test_pages_keep_the_search_and_show_each_product_once(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=kitchen&order=price")
    wanted = choose(page, "Kitchen")
    seen = names(page)
    assert len(seen) == PAGE_SIZE < wanted
    while (following := page.get_by_role("link", name="Next")).count():
        following.click()
        seen += names(page)
    assert page.locator(".pages [aria-current=page]").inner_text().split()[-1] == "2"
    assert page.get_by_role("heading", level=1).inner_text() == "“kitchen”"
    assert len(seen) == wanted and set(Counter(seen).values()) == {1}


def test_filters_that_leave_nothing_say_so_and_lead_on(open_page: Callable[..., Page]) -> None:
    page = open_page(PAGES["nothing left"])
    assert page.get_by_role("heading", name="Nothing found").is_visible()
    assert not names(page)
    page.get_by_role("link", name="Search without filters").click()
    assert is_red_mug(names(page)[0])


def test_similar_products_lead_from_one_to_the_next(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=red+mug")
    name = names(page)[0]
    page.locator("main .card__link").first.click()
    assert page.get_by_role("heading", level=1).inner_text().lower() == name
    assert len(names(page)) == 8 and name not in names(page)
    following = names(page)[0]
    page.locator(".similar .card__link").first.click()
    assert page.get_by_role("heading", level=1).inner_text().lower() == following


# Photos.


def test_a_photo_is_sent_as_soon_as_it_is_chosen(open_page: Callable[..., Page], shop: Shop) -> None:
    page = open_page()
    send_photo(page, shop.photo("backpack", "green", "striped"))
    assert page.get_by_alt_text("Your photo").is_visible()
    assert is_near_the_top(page, "green", "backpack", "rucksack")


def test_words_beside_a_photo_say_what_is_different(open_page: Callable[..., Page], shop: Shop) -> None:
    page = open_page()
    send_photo(page, shop.photo("backpack", "green"))
    page.get_by_label("Like this, but").fill("in red")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("heading", name="Products like your photo, “in red”").wait_for()
    assert page.get_by_alt_text("Your photo").is_visible()
    assert "red" in names(page)[0]
    assert page.get_by_role("combobox", name="Search").input_value() == ""


def test_photo_results_have_pages_and_filters(open_page: Callable[..., Page], shop: Shop) -> None:
    page = open_page()
    send_photo(page, shop.photo("hat", "purple"))
    before = names(page)
    page.get_by_role("link", name="Next").click()
    assert not set(before) & set(names(page))
    assert choose(page, "Purple") == total(page)
    assert is_near_the_top(page, "purple", "hat")
    page.reload()
    assert page.get_by_alt_text("Your photo").is_visible()


def test_a_photo_can_be_dropped_anywhere(open_page: Callable[..., Page], shop: Shop) -> None:
    page = open_page("/search/?q=sofa")
    carried = page.evaluate_handle(
        """content => {
            const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], "photo.jpg", {type: "image/jpeg"}));
            return carried;
        }""",
        base64.b64encode(shop.photo("lamp", "red")).decode(),
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": carried})
    assert page.locator("body.dropping").count() == 1
    page.dispatch_event("main", "drop", {"dataTransfer": carried})
    page.wait_for_url("**/search/photo/*/")
    assert is_near_the_top(page, "red", "lamp")


def test_a_photo_too_large_for_the_server_is_shrunk_first(open_page: Callable[..., Page], shop: Shop) -> None:
    page = open_page()
    send_photo(page, shop.photo("mug", "red", size=4800))  # 23 million pixels; 20 are allowed
    assert is_near_the_top(page, "red", "mug", "cup")


def test_what_is_no_photo_is_refused_in_the_page(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/photo/")
    page.get_by_label("Upload a photo").set_input_files(files(b"These are words."))
    said = page.locator("#photo-error")
    assert "not a readable image" in said.inner_text()
    assert "photo-error" in str(page.locator("#photo").get_attribute("aria-describedby"))


def test_photos_of_others_are_not_shown(open_page: Callable[..., Page], shop: Shop) -> None:
    page = open_page()
    send_photo(page, shop.photo("mug", "red"))
    somebody = open_page(page.url)
    assert somebody.get_by_role("heading", name="This photo is no longer available").is_visible()


# Without a script, without a mouse, on a phone, for a screen reader.


def test_without_scripts_everything_is_found_as_well(open_page: Callable[..., Page], shop: Shop) -> None:
    page = open_page("/search/", java_script_enabled=False)
    page.get_by_role("searchbox", name="Search").fill("mug")
    page.get_by_role("searchbox", name="Search").press("Enter")
    assert names(page) == names(open_page("/search/?q=mug"))
    assert choose(page, "Pink") == total(page)
    page.get_by_label("To €").fill("100")
    page.get_by_role("button", name="Apply the price").click()
    assert page.get_by_role("link", name="Remove the filter Up to €100").count() == 1
    sort(page, "Price, high to low")
    assert prices(page) == sorted(prices(page), reverse=True)
    page.get_by_text("Search by photo").click()
    page.get_by_label("Upload a photo").set_input_files(files(shop.photo("clock", "blue")))
    page.get_by_role("button", name="Search by this photo").click()
    assert is_near_the_top(page, "blue", "clock")


def test_the_keyboard_is_enough(open_page: Callable[..., Page]) -> None:
    page = open_page()

    def focused(expression: str) -> str:
        return str(page.evaluate(f"document.activeElement.{expression}"))

    page.keyboard.press("Tab")
    assert focused("textContent") == "Skip to the content"
    while focused("id") != "q":
        page.keyboard.press("Tab")
    page.keyboard.type("red mu")
    page.get_by_role("option").first.wait_for()
    while page.locator("[aria-selected=true]").all_inner_texts() != ["red mug"]:
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/?q=red+mug")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focused("textContent") == "Skip to the results"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement, '::after').outlineStyle") == "solid"
    chosen = focused("textContent.trim()").lower()
    assert is_red_mug(chosen)
    page.keyboard.press("Enter")
    page.wait_for_url("**/products/*/")
    assert page.get_by_role("heading", level=1).inner_text().lower() == chosen


def test_the_order_can_be_changed_with_the_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=mug")
    page.locator(".order summary").press("Enter")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert not page.get_by_role("link", name="Newest").is_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/?*order=price")
    assert prices(page) == sorted(prices(page))


def test_escape_puts_the_photo_panel_away(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".photobox summary").press("Enter")
    page.get_by_role("button", name="Search by this photo").focus()
    page.keyboard.press("Escape")
    assert not page.get_by_role("button", name="Search by this photo").is_visible()
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


@pytest.mark.parametrize("name", PAGES)
def test_every_page_can_be_read_aloud_and_fits_a_phone(open_page: Callable[..., Page], name: str) -> None:
    page = open_page(PAGES[name], viewport={"width": 360, "height": 740}, has_touch=True)  # a narrow one
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(STICKING_OUT) == []
    assert page.evaluate(BARRIERS) == []
    assert [page.get_by_role(role).count() for role in ("banner", "main", "contentinfo")] == [1, 1, 1]
    assert page.get_by_role("search").count() == 1 and page.get_by_role("navigation").count() >= 1


STICKING_OUT = """() => {
    const edge = (element) => Math.round(element.getBoundingClientRect().right);
    const inside = (row) => [...row.querySelectorAll("*")].filter((one) => one.checkVisibility());
    const out = (row) => inside(row).filter((one) => edge(one) > edge(row));
    return [...document.querySelectorAll(".masthead__row")].flatMap(out).map((one) => one.outerHTML);
}"""
BARRIERS = """() => {
    const found = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    const text = (id) => document.getElementById(id)?.textContent.trim();
    if (!document.documentElement.lang || !document.title) found.push("no language, or no title");
    if (all("h1").length !== 1) found.push(`${all("h1").length} first headings`);
    let before = 1;
    for (const heading of all("main h1, main h2, main h3")) {
        const level = Number(heading.tagName[1]);
        if (level > before + 1) found.push(`h${level} after h${before}`);
        before = level;
    }
    for (const input of all("input:not([type=hidden]), select, textarea"))
        if (![...(input.labels ?? [])].some((label) => label.textContent.trim()))
            found.push(`no label: ${input.name}`);
    for (const image of all("img")) if (!image.hasAttribute("alt")) found.push(`no alt: ${image.src}`);
    for (const link of all("a[href], button, summary"))
        if (!link.textContent.trim() && !link.querySelector("img[alt]:not([alt=''])"))
            found.push(`no name: ${link.outerHTML}`);
    const ids = all("[id]").map((element) => element.id);
    for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) found.push(`twice: ${id}`);
    for (const name of ["aria-labelledby", "aria-describedby"])
        for (const element of all(`[${name}]`))
            for (const id of element.getAttribute(name).split(" "))
                if (text(id) === undefined) found.push(`${name} of nothing: ${id}`);
    const names = all("nav").map((nav) => nav.ariaLabel ?? text(nav.getAttribute("aria-labelledby")));
    if (new Set(names).size !== names.length) found.push(`landmarks of one name: ${names}`);
    return found;
}"""


def test_on_a_phone_the_filters_are_folded(open_page: Callable[..., Page]) -> None:
    page = open_page("/search/?q=mug", viewport={"width": 360, "height": 740})
    assert not option(page, "Red").is_visible()
    page.get_by_role("heading", name="Filters").click()
    assert choose(page, "Red") == total(page)


# When something is wrong.


@pytest.mark.parametrize(
    "parameters",
    [
        "q=mug&page=0",
        "q=mug&page=x",
        "q=mug&page=99999999999999999999",
        "q=%00%ff",
        f"q={'mug+' * 1000}",
        "q=mug&price_from=free&price_to=NaN&in_stock=perhaps&order=name",
        "q=mug&price_from=1e400&price_to=-1",
        'q="red',
        "q=-red",
        "q=the+of",
        "q=mug&category=nothing&colour=%F0%9F%99%82&colour=",
        "q=mug&unknown=1&price__lte=3&category__in=x",
        "&".join(f"colour={number}" for number in range(200)),
    ],
)
def test_parameters_that_make_no_sense_do_no_harm(open_page: Callable[..., Page], parameters: str) -> None:
    page = open_page("/search/photo/")  # the one without pictures
    assert page.request.get(f"/search/?{parameters}").status == 200


def test_when_search_is_unavailable_the_shop_says_so_and_stays_open(
    open_page: Callable[..., Page], shop: Shop
) -> None:
    page = open_page()
    send_photo(page, shop.photo("mug", "red"))
    catalogue = names(open_page())
    away = shop.index.rename(shop.index.with_name("away"))
    try:
        for path in ("/search/?q=red+mug&category=bags", page.url):
            answer = page.goto(path)
            assert answer is not None and answer.status == 503
            assert "Search is unavailable right now" in page.get_by_role("alert").inner_text()
            assert names(page) == catalogue
        answer = page.goto("/products/MUG-RED-01/")
        assert answer is not None and answer.status == 200
        assert "cannot be looked up right now" in page.locator(".similar").inner_text()
    finally:
        away.rename(shop.index)
    page.goto("/search/?q=red+mug")
    assert is_red_mug(names(page)[0])
