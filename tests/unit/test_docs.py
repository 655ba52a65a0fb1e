"""The pages in docs/ describe the code as it is: each table of the reference is compared with the code."""

from __future__ import annotations

import argparse
import ast
import http.server
import io
import json
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from django.core.management import BaseCommand, get_commands, load_command_class
from django.template import Engine
from django.urls import Resolver404, resolve
from rest_framework import serializers

from clip_search import Document, checks
from clip_search.api import responses, schema, urls
from clip_search.api.listing import ENDPOINTS
from clip_search.api.serializers import ProductWithImageSerializer, SearchSerializer, SuggestSerializer
from clip_search.checks import configuration
from clip_search.conf import DEFAULTS
from clip_search.document import DECLARED
from clip_search.documents.declaration import HOOKS
from clip_search.documents.registry import registry
from clip_search.searching import SearchResults, filters
from clip_search.stores.base import Store
from clip_search.testing import HashingEncoder
from tests.conftest import ROOT
from tests.shops.shop.models import Category, Product
from tests.unit.store_contract import StoreContract

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.rst"), *ROOT.glob("*.rst")])
EXAMPLES = DOCS / "how-to"


def page(name: str) -> str:
    return (DOCS / f"{name}.rst").read_text()


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    pattern = rf"^( *)\.\. code-block:: {re.escape(language)}\n(?: +:.*\n)*\n((?:\1 +.*\n|\n)+)"
    found = []
    for match in re.finditer(pattern, text, re.M):
        lines = match[2].splitlines()
        margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        found.append("\n".join(line[margin:] for line in lines).strip() + "\n")
    return found


# Settings.

SETTINGS = page("reference/settings")
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^\.\. confval:: ", SETTINGS, flags=re.M)[1:]}


def test_every_setting_is_on_the_page_and_the_other_way_round():
    assert len(SECTIONS) == SETTINGS.count(".. confval::")
    assert set(SECTIONS) == set(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_setting_has_a_type_its_default_a_meaning_and_an_example_that_is_right(key):
    section = SECTIONS[key]
    assert re.search(r"^   :type: \S", section, re.M)
    (default,) = re.findall(r"^   :default: ``(.+)``$", section, re.M)
    assert ast.literal_eval(default) == DEFAULTS[key]
    meaning = section.split("\n\n", 1)[1].split(".. code-block::")[0]
    assert len(meaning.split()) >= 8
    (example,) = blocks(section, "python")
    namespace: dict[str, Any] = {}
    exec(example, namespace)  # noqa: S102 -- our own page
    assert list(namespace["CLIP_SEARCH"]) == [key]
    is_right, wanted = configuration.TYPES[key]
    assert is_right(namespace["CLIP_SEARCH"][key]), wanted


# Checks.


def written(markup: str) -> str:
    """Return text of a page, or of a docstring, without markup and line breaks."""
    return " ".join(markup.replace("``", "`").split())


ROWS = re.findall(
    r"^   \* - clip_search\.([EW]\d{3})\n     - ((?:.|\n       )+)\n     - ((?:.|\n       )+)",
    page("reference/checks"),
    re.M,
)


def test_every_check_is_on_the_page_with_its_meaning():
    table = dict(re.findall(r"^([EW]\d{3}) (.+)$", checks.__doc__ or "", re.M))
    assert {number: written(meaning) for number, meaning, _remedy in ROWS} == table
    assert all(len(remedy) > 20 for _number, _meaning, remedy in ROWS)


def test_every_number_in_the_code_is_on_the_page():
    source = "".join(path.read_text() for path in (ROOT / "clip_search" / "checks").glob("*.py"))
    used = re.findall(r'^\s*(?:.*\()?"clip_search\.([EW]\d{3})"', source, re.M)
    assert set(used) == {number for number, _meaning, _remedy in ROWS}


# Documents and results.


def test_every_attribute_and_method_of_a_document_is_in_the_table_and_described():
    text = page("reference/document")
    table = text.split("At a glance\n")[1].split("\nDeclare\n")[0]
    assert set(re.findall(r"^``(\w+)``", table, re.M)) == DECLARED
    assert set(re.findall(r"\.\. auto(?:attribute|method):: (\w+)", text)) == DECLARED
    assert set(HOOKS) <= DECLARED <= set(dir(Document)) | set(Document.__mro__[1].__annotations__)


def test_the_lookups_of_each_filter_are_on_the_page():
    text = page("reference/document").split("Filter fields\n")[1]
    rows = re.findall(r"^(``\w+``(?:, ``\w+``)?) +(.+)$", text.split("\n\n")[1], re.M)
    said: dict[str, set[str]] = {}
    for kinds, lookups in rows:
        found = set(re.findall(r"``(\w+)``", lookups)) | (said["keyword"] if "the same" in lookups else set())
        said |= {kind.lower(): found for kind in re.findall(r"``(\w+)``", kinds)}
    assert said == {kind: set(lookups) for kind, lookups in filters.LOOKUPS.items()}


def test_every_method_of_the_results_is_described():
    text = page("reference/search-results").split(".searching.SearchResults()\n")[1]
    described = re.findall(r"^   :(?:special-)?members: (.+)$", text, re.M)
    public = {name for name, value in vars(SearchResults).items() if callable(value) and name[0] != "_"}
    assert public <= {name for line in described for name in line.split(", ")}


# Commands.


def commands() -> dict[str, BaseCommand]:
    found = {name for name, app in get_commands().items() if app == "clip_search"}
    return {name: load_command_class("clip_search", name) for name in found}


def options(command: BaseCommand) -> set[str]:
    """Return the options of a command beyond those of every Django command."""

    def of(one: BaseCommand) -> set[str]:
        actions = one.create_parser("manage.py", "x")._actions
        return {o for action in actions for o in action.option_strings if action.help != argparse.SUPPRESS}

    return of(command) - of(BaseCommand())


def test_every_command_is_described_with_its_options():
    text = page("reference/commands")
    sections = dict(re.findall(r"^(clip_\w+)\n=+\n((?:(?!\n\w+\n=+\n)[\s\S])+)", text, re.M))
    assert set(sections) == set(commands())
    for name, command in commands().items():
        assert set(re.findall(r"^``(--[\w-]+)", sections[name], re.M)) == options(command), name
        assert f"manage.py {name}" in sections[name]


def test_every_command_that_any_page_shows_exists():
    for path in PAGES:
        named = set(re.findall(r"manage\.py (clip_\w+)", path.read_text()))
        assert named <= set(commands()), path


# Endpoints.

HTTP = page("reference/http")


def test_every_endpoint_that_curl_is_shown_with_resolves():
    paths = [path.split("?")[0] for path in re.findall(r"http://127.0.0.1:8000(/api/v1/[^\s\"\\]*)", HTTP)]
    found = set()
    for path in paths:
        try:
            found.add(resolve(path).url_name)
        except Resolver404:
            pytest.fail(f"{path} is on the page, and nowhere else")
    assert found == {pattern.name for pattern in urls.urlpatterns} - {"unknown"}


ANSWERS: list[type[serializers.Serializer[Any]]] = [
    responses.IndexedSerializer,
    responses.QueuedSerializer,
    responses.JobSerializer,
    responses.ResultsSerializer,
    responses.SuggestionsSerializer,
    responses.HealthSerializer,
    responses.StatusSerializer,
    responses.EndpointsSerializer,
]


def test_the_answers_that_are_shown_have_the_fields_of_real_ones():
    shown = [json.loads(text) for text in blocks(HTTP, "json")]
    assert [list(answer) for answer in shown[:-1]] == [list(answer().fields) for answer in ANSWERS]
    for hit in shown[3]["results"]:
        assert list(hit) == list(responses.HitSerializer().fields)
    for value in (value for facet in shown[3]["facets"].values() for value in facet):
        assert list(value) == list(responses.FacetValueSerializer().fields)
    for product in shown[4]["products"]:
        assert list(product) == list(responses.SuggestedProductSerializer().fields)
    (endpoint,) = shown[7]["endpoints"]
    assert list(endpoint) == list(responses.EndpointSerializer().fields)
    assert (endpoint["method"], endpoint["url"].split("/v1/")[1], endpoint["description"]) == ENDPOINTS[0]
    assert list(shown[-1]) == ["image_file"]


def test_every_parameter_and_status_is_described():
    named = set(re.findall(r"``(\w+)``", HTTP))
    assert {
        *ProductWithImageSerializer().fields,
        *SearchSerializer().fields,
        *SuggestSerializer().fields,
        "min_score",
        "max_age",
    } <= named
    statuses = {int(status) for status in re.findall(r"^(\d{3})  ", HTTP, re.M)}
    assert statuses == set(schema.DESCRIPTIONS) - {413}


# The examples of the how-to guides.


@pytest.fixture
def examples(monkeypatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in ("own_encoder", "own_store"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("examples")
class TestOwnStore(StoreContract):
    @pytest.fixture
    def store(self, examples: None) -> Store:
        from own_store import DictStore  # type: ignore[import-not-found]

        return DictStore()  # type: ignore[no-any-return]


@pytest.mark.django_db(transaction=True)
def test_a_shop_on_the_store_of_the_guide(settings, examples):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": {"backend": "own_store.DictStore"}}
    Product.objects.create(sku="A", name="Red mug", price=8)
    Product.objects.create(sku="B", name="Blue chair", price=80)
    search = registry.get("product").declaration.search
    assert [product.name for product in search("red mug")] == ["Red mug"]
    found = search("red mug", everything=True)
    assert [product.name for product in found] == ["Red mug", "Blue chair"]
    assert [product.name for product in found.filter(price__in=[80])] == ["Blue chair"]


class Service(http.server.BaseHTTPRequestHandler):
    """Embeds texts as the tests' encoder does; an image has a direction of its own."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vectors = np.zeros((len(body.get("texts", body.get("images"))), 768), np.float32)
        if "texts" in body:
            vectors[:, :256] = HashingEncoder().embed_texts(body["texts"])
        else:
            vectors[:, 700] = 5.0
        answer = json.dumps({"vectors": vectors.tolist()}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.django_db(transaction=True)
def test_a_shop_with_the_encoder_of_the_guide(settings, examples, service, picture):
    from clip_search import SearchUnavailable

    settings.EMBEDDING_SERVICE = service
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "own_encoder.ServiceEncoder"}
    Product.objects.create(sku="A", name="Red mug", price=8).images.create(original=picture())
    Product.objects.create(sku="B", name="Blue chair", price=80)
    document = registry.get("product").declaration
    found = document.search("red mug please", everything=True)
    assert [product.name for product in found] == ["Red mug", "Blue chair"]
    assert document.search_by_image(picture()).first().name == "Red mug"
    settings.EMBEDDING_SERVICE = "http://127.0.0.1:1/"
    with pytest.raises(SearchUnavailable, match="The embedding service failed"):
        document.search("something else").first()


# All pages.


def test_the_glossary_has_our_words_and_no_others():
    terms = set(re.findall(r"^   (\w[\w ]*)\n      \S", page("explanation/glossary"), re.M))
    ours = {"revision", "entry", "stamp", "tombstone", "generation", "collection", "fingerprint"}
    assert terms == ours | {"shop", "installation", "row", "posted product", "due", "RQ job"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_can_be_read_by_what_reads_it(path):
    text = path.read_text()
    for block in blocks(text, "python"):
        compile(re.sub(r"^    \.\.\.,$", "", block, flags=re.M), str(path), "exec")
    for block in blocks(text, "json"):
        json.loads(block)
    libraries = {
        "admin_urls": "django.contrib.admin.templatetags.admin_urls",
        "clip_search": "clip_search.templatetags.clip_search",
    }
    engine = Engine(libraries=libraries)
    for block in blocks(text, "html+django"):
        engine.from_string(block)


@pytest.fixture
def shop_views(monkeypatch) -> dict[str, Any]:
    """The views of the guide to a search page, in the tests' shop; what they render is their context."""
    first, photo = blocks(page("how-to/search-page"), "python")[:2]
    source = f"{first}\n{photo}".replace("from .", "from tests.shops.shop.")
    namespace: dict[str, Any] = {}
    exec(source, namespace)  # noqa: S102 -- our own page
    namespace["render"] = lambda request, template, context: (template, context)
    return namespace


@pytest.mark.django_db(transaction=True)
def test_the_views_of_the_guide_search_filter_count_and_survive(settings, shop_views, picture, rf):
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(sku="A", name="Red mug", price=8, category=kitchen)
    mug.images.create(original=picture("red"))
    Product.objects.create(sku="B", name="Blue chair", price=80)
    template, context = shop_views["search"](rf.get("/?q=mug"))
    assert template == "shop/search.html"
    assert [product.name for product in context["products"]] == ["Red mug"]
    assert [(one.value, one.count) for one in context["facets"]["category"]] == [("kitchen", 1)]
    _, context = shop_views["search"](rf.get("/?q=mug&category=kitchen&max=10&page=999"))
    assert [product.name for product in context["products"]] == ["Red mug"]
    _, context = shop_views["search"](rf.get("/?q=mug&max=much"))
    assert len(context["products"]) == 1
    _, context = shop_views["search"](rf.get("/?q=beaker"))
    assert len(context["products"]) == 0
    assert {product.name for product in context["closest"]} == {"Red mug", "Blue chair"}

    template, context = shop_views["by_photo"](rf.post("/", {"photo": picture("red")}))
    assert template == "shop/search.html"
    assert context["products"][0].name == "Red mug"
    template, context = shop_views["by_photo"](rf.post("/", {"photo": io.BytesIO(b"text")}))
    assert template == "shop/photo.html"
    assert "not a readable image" in context["form"].errors["photo"][0]

    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "nowhere.Encoder"}
    template, context = shop_views["search"](rf.get("/?q=chair"))
    assert template == "shop/no_search.html"
    assert len(context["products"]) == 2
