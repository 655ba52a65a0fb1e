"""The search box in a real browser: with a keyboard, with a mouse, and without a script."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.template import Context, Template

from clip_search.documents.registry import registry
from clip_search.models import Word
from tests.conftest import PATIENCE, ROOT
from tests.integration.searching.actions import index
from tests.shops.shop.models import Category, Product

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium")
browser = [
    pytest.mark.browser,
    pytest.mark.timing,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM, reason="There is no chromium on PATH. Try: apt-get install chromium"),
]


def rendered(source: str, **values: object) -> str:
    return Template("{% load clip_search %}" + source).render(Context(values))


def test_the_tag_writes_a_plain_form_that_a_script_enhances():
    html = rendered("{% search_box action='/search/' placeholder=hint %}", hint="Describe <it>")
    assert 'action="/search/" method="get"' in html
    assert 'data-suggest="/api/v1/suggest"' in html
    assert 'placeholder="Describe &lt;it&gt;"' in html
    assert "combobox" not in html, "without a script it is none"
    assert not re.search(r"<script(?! src)|style=|\bon\w+=", html), "a content security policy may forbid it"


@pytest.mark.parametrize(("limit", "sent"), [("3", "3"), ("0", "1"), ("999", "20"), ("'x'", "5")])
def test_the_limit_of_the_tag_is_one_that_the_endpoint_accepts(limit, sent):
    assert f'data-limit="{sent}"' in rendered(f"{{% search_box action='/' limit={limit} %}}")


def test_without_the_endpoint_it_suggests_nothing(settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert 'data-suggest=""' in rendered("{% search_box action='/search/' %}")


@pytest.fixture
def shop(request, settings, monkeypatch) -> Any:
    """Run a shop with a search box. Return its server."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright runs an event loop in this thread
    monkeypatch.setattr(Product, "get_absolute_url", lambda self: f"/products/{self.sku}/", raising=False)
    settings.ROOT_URLCONF = "tests.samples.search_page_urls"
    settings.STATIC_ROOT = ROOT / "clip_search" / "static"
    document = registry.get("product")
    kitchen = Category.objects.create(name="Kitchen", slug="music-kitchen")
    names = ("Red mug", "Blue mug", "Red museum print", "Red kettle")
    Product.objects.bulk_create(
        Product(name=name, sku=f"S-{number}", category=kitchen) for number, name in enumerate(names)
    )
    index(document)
    Word.objects.replace(document, {"red": 3, "mug": 2, "museum": 1, "kettle": 1, "blue": 1})
    return request.getfixturevalue("live_server")


@pytest.fixture
def open_page(shop) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the shop in a new browser. No script may fail."""
    from playwright.sync_api import sync_playwright

    faults: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )

        def start(**options: Any) -> Page:
            page = chromium.new_context(base_url=shop.url, **options).new_page()
            page.set_default_timeout(PATIENCE * 1000)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on(
                "console", lambda message: faults.append(message.text) if message.type == "error" else None
            )
            page.goto("/search/")
            return page

        yield start
        chromium.close()
    assert not [fault for fault in faults if "favicon" not in fault and "404" not in fault]


def typed(page: Page, text: str) -> Any:
    """Type into the box and wait for suggestions. Return the input."""
    box = page.get_by_role("combobox", name="Search")
    box.press_sequentially(text)
    page.get_by_role("option").first.wait_for()
    return box


def active(page: Page, box: Any) -> str:
    """Return the text of the option that a screen reader reads."""
    identity = box.get_attribute("aria-activedescendant")
    return page.locator(f"#{identity}").inner_text() if identity else ""


@pytest.mark.usefixtures("shop")
class TestWithAScript:
    pytestmark = browser

    def test_arrows_choose_and_enter_searches(self, open_page):
        page = open_page()
        box = typed(page, "red mu")
        assert box.get_attribute("aria-expanded") == "true"
        assert box.get_attribute("aria-controls") == page.get_by_role("listbox").get_attribute("id")
        assert box.get_attribute("aria-autocomplete") == "list"
        options = page.get_by_role("option").all_inner_texts()
        assert set(options[:2]) == {"red mug", "red museum"}
        assert page.get_by_role("status").inner_text().startswith(f"Suggestions: {len(options)}.")
        assert active(page, box) == ""
        box.press("ArrowUp")
        assert active(page, box) == options[-1]
        box.press("ArrowDown")
        assert active(page, box) == "", "after the last one comes the text"
        box.press("ArrowDown")
        assert active(page, box) == options[0]
        assert page.locator("[aria-selected=true]").all_inner_texts() == [options[0]]
        box.press("Enter")
        page.wait_for_url(re.compile(r"/search/\?q="))
        assert page.locator("#asked").inner_text() == f"q={options[0].replace(' ', '+')}"
        assert page.get_by_role("combobox").input_value() == options[0]

    def test_enter_without_a_choice_searches_for_the_text(self, open_page):
        page = open_page()
        typed(page, "red mu").press("Enter")
        page.wait_for_url("**/search/?q=red+mu")

    def test_escape_closes_the_list_and_keeps_the_text(self, open_page):
        page = open_page()
        box = typed(page, "red mu")
        box.press("ArrowDown")
        box.press("Escape")
        page.get_by_role("listbox").wait_for(state="hidden")
        assert box.get_attribute("aria-expanded") == "false"
        assert (active(page, box), box.input_value()) == ("", "red mu")
        box.press("ArrowDown")
        page.get_by_role("option").first.wait_for()

    def test_home_and_end_return_to_the_text(self, open_page):
        page = open_page()
        box = typed(page, "red mu")
        for key, place in (("Home", 0), ("End", 6)):
            box.press("ArrowDown")
            assert active(page, box)
            box.press(key)
            assert active(page, box) == ""
            assert box.evaluate("input => input.selectionStart") == place

    def test_tab_closes_the_list_and_goes_on(self, open_page):
        page = open_page()
        typed(page, "red mu").press("Tab")
        page.get_by_role("listbox").wait_for(state="hidden")
        assert page.evaluate("document.activeElement.type") == "submit"

    def test_products_and_categories_lead_to_their_pages(self, open_page):
        page = open_page()
        typed(page, "blue mu")
        page.get_by_role("option", name="Blue mug", exact=True).last.click()
        page.wait_for_url("**/products/S-1/")
        typed(page, "mus")
        page.get_by_role("option", name="music-kitchen").click()
        page.wait_for_url("**/search/?category=music-kitchen")

    def test_what_finds_nothing_is_said(self, open_page):
        page = open_page()
        box = typed(page, "red mu")
        box.press_sequentially("xyz")
        page.get_by_role("listbox").wait_for(state="hidden")
        page.get_by_role("status").filter(has_text="No suggestions.").wait_for()

    def test_only_the_last_text_is_asked_for(self, open_page):
        page = open_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "suggest" in request.url else None)
        typed(page, "red mu")
        assert len(asked) < 5
        assert asked[-1].endswith("/api/v1/suggest?q=red+mu&limit=5")

    def test_a_server_that_answers_no_more_leaves_a_plain_form(self, open_page):
        page = open_page()
        box = typed(page, "red mu")
        page.route("**/suggest*", lambda route: route.fulfill(status=200, body="no JSON"))
        box.press_sequentially("g")
        page.get_by_role("listbox").wait_for(state="hidden")
        box.press("Enter")
        page.wait_for_url("**/search/?q=red+mug")


class TestWithoutAScript:
    pytestmark = browser

    def test_the_form_searches(self, open_page):
        page = open_page(java_script_enabled=False)
        page.get_by_role("searchbox", name="Search").fill("red mug")
        page.get_by_role("button", name="Search").click()
        page.wait_for_url("**/search/?q=red+mug")
        assert page.get_by_role("searchbox").input_value() == "red mug"
        assert page.get_by_role("listbox").count() == 0
