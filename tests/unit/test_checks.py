"""Every numbered check: once where it speaks, and never where all is well."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from django.apps import apps
from django.core import checks as django_checks
from django.core.files.storage import Storage
from django.db import OperationalError, models
from PIL import Image

from clip_search import Bool, Document, Keyword, Number, checks, register
from clip_search.api import serializers
from clip_search.checks import configuration
from clip_search.checks.documents import check_document
from clip_search.checks.queue import WORKER
from clip_search.conf import DEFAULTS
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import Registry, registry
from clip_search.templatetags import clip_search as tags
from clip_search.worker import EmbeddingWorker
from tests.shops.oscarshop.models import Category as Shelf
from tests.shops.shop.models import Article, Book, Category, Product, ProductImage, SaleProduct, Tag

GOOD = {
    "QDRANT": {"url": "http://localhost:6333"},
    "INSTALLATION": "production",
    "API_DOCUMENT": "product",
    "QUEUE": None,
}
WRONG = {
    "QDRANT": "http://localhost:6333",
    "MODEL": None,
    "TEXT_MODEL": 1,
    "ENCODER": None,
    "DEVICE": 0,
    "PRECISION": None,
    "BATCH_SIZE": 0,
    "ACCELERATE": "yes",
    "COLLECTION_OPTIONS": None,
    "INSTALLATION": "p" * 101,
    "QUEUE": 1,
    "AUTOSYNC": "yes",
    "API_DOCUMENT": Product,
    "API_PERMISSION_CLASSES": "rest_framework.permissions.IsAdminUser",
    "API_SEARCH_PERMISSION_CLASSES": None,
    "API_THROTTLE_RATE": 60,
    "API_SEARCH_THROTTLE_RATE": 60,
    "MAX_IMAGE_BYTES": True,
    "MAX_IMAGE_PIXELS": 1e6,
    "IMAGE_FORMATS": [],
}


class OwnWorker(EmbeddingWorker):
    """A host's worker that extends ours."""


def ids(messages) -> list[str]:
    assert all(message.hint for message in messages)
    return [message.id.removeprefix("clip_search.") for message in messages]


@pytest.fixture
def said(settings):
    """Return a function that gives the numbers said about CLIP_SEARCH with these keys."""

    def say(**keys: object) -> list[str]:
        settings.CLIP_SEARCH = GOOD | keys
        return ids(checks.check_settings())

    return say


@pytest.fixture
def said_of_queue(settings):
    """Return a function that gives the numbers said about a queue of this configuration."""

    def say(queue: str | None = "default", **of_queue: object) -> list[str]:
        settings.CLIP_SEARCH = GOOD | {"QUEUE": queue}
        settings.RQ_QUEUES = {
            "default": {"HOST": "x", "SERIALIZER": "rq.serializers.JSONSerializer"} | of_queue
        }
        return ids(checks.check_queue())

    return say


# CLIP_SEARCH


def test_nothing_is_said_where_all_is_well(said):
    assert said() == []


def test_registered_under_a_tag():
    assert checks.TAG in django_checks.registry.registry.tags_available()
    assert django_checks.run_checks(tags=[checks.TAG]) == [
        m for m in django_checks.run_checks(tags=[checks.TAG]) if m.id == "clip_search.W101"
    ]


@pytest.mark.parametrize("value", [None, "text", ["QDRANT"]])
def test_e001_no_dict(settings, value):
    settings.CLIP_SEARCH = value
    assert ids(checks.check_settings()) == ["E001"]
    assert ids(checks.check_queue()) == []


def test_e002_unknown_key_names_the_nearest(settings):
    settings.CLIP_SEARCH = GOOD | {"MAX_IMAGE_BYTE": 1, 5: 1}
    first, second = checks.check_settings()
    assert (first.id, second.id) == ("clip_search.E002", "clip_search.E002")
    assert '"MAX_IMAGE_BYTES"?' in first.hint


@pytest.mark.parametrize("key", DEFAULTS)
def test_e003_wrong_type(said, key):
    if key == "QDRANT":
        assert said(QDRANT="http://user:secret@host") == ["E003", "E004"]
    else:
        assert said(**{key: WRONG[key]}) in (["E003"], ["E003", "W003"], ["E003", "W009"])


def test_e003_shows_no_value(settings):
    settings.CLIP_SEARCH = GOOD | {"QDRANT": "http://user:secret@host"}
    assert not any("secret" in str(message) for message in checks.check_settings())


def test_every_key_has_a_type():
    assert set(configuration.TYPES) == set(DEFAULTS)


def test_e004_qdrant_unset_shows_both_lines(settings):
    settings.CLIP_SEARCH = {"API_DOCUMENT": "product"}
    (message,) = checks.check_settings()
    assert message.id == "clip_search.E004"
    assert '{"url": ' in message.hint
    assert '{"path": ' in message.hint


def test_settings_without_clip_search_say_e004(settings):
    del settings.CLIP_SEARCH
    assert "E004" in ids(checks.check_settings())


@pytest.mark.parametrize("qdrant", [{"api_key": "x"}, {"url": "x", "path": "y"}, {"host": "x", "path": "y"}])
def test_e005_neither_or_both(said, qdrant):
    assert said(QDRANT=qdrant) == ["E005"]


@pytest.mark.parametrize("qdrant", [{"host": "x"}, {"backend": "clip_search.testing.MemoryStore"}])
def test_other_ways_to_name_a_store(said, qdrant):
    assert said(QDRANT=qdrant) == []


@pytest.mark.parametrize(
    "qdrant",
    [
        *({"url": url} for url in ("localhost:6333", "qdrant", "", None, 6333, "ftp://x", "http://")),
        *({"url": url} for url in ("http://x:port", "http://x:99999", "http://x:0", "http:/x", "//x:6333")),
        *({"host": host} for host in ("http://x", "", None)),
    ],
)
def test_e017_address_of_qdrant(said, qdrant):
    assert said(QDRANT=qdrant) == ["E017"]


@pytest.mark.parametrize(
    "url", ["http://localhost:6333", "https://x.cloud.qdrant.io", "http://[::1]:6333/qdrant", "HTTP://x"]
)
def test_an_address_with_scheme_and_host_is_fine(said, url):
    assert said(QDRANT={"url": url}) == []


def test_e017_shows_no_password(settings):
    settings.CLIP_SEARCH = GOOD | {"QDRANT": {"url": "user:secret@host:6333"}}
    assert not any("secret" in str(message) for message in checks.check_settings())


@pytest.mark.parametrize("backend", ["x.Y", "Store", "clip_search.testing.MemoryStor", None, 5])
def test_e018_backend(said, backend):
    assert said(QDRANT={"backend": backend}) == ["E018"]


def test_e006_embedded_store_not_installed(said, settings, monkeypatch):
    settings.DEBUG = True
    monkeypatch.setattr(configuration, "find_spec", lambda name: None if name == "qdrant_edge" else 1)
    assert said(QDRANT={"path": Path("/x")}) == ["E006"]


def test_e021_a_family_that_is_not_proven(said, tmp_path):
    for family, numbers in {"siglip": ["E021"], "clip": [], "next": ["E021"]}.items():
        (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
        assert said(MODEL=tmp_path) == said(TEXT_MODEL=str(tmp_path)) == numbers
        assert said(MODEL=tmp_path, ENCODER="clip_search.testing.HashingEncoder") == []


def test_w001_embedded_store_in_production(said, settings, monkeypatch):
    monkeypatch.setattr(configuration, "find_spec", lambda name: 1)
    assert said(QDRANT={"path": "/x"}) == ["W001"]
    settings.DEBUG = True
    assert said(QDRANT={"path": "/x"}) == []


@pytest.mark.parametrize("key", ["MODEL", "TEXT_MODEL"])
def test_e007_folder_missing(said, tmp_path, key):
    for missing in (tmp_path / "no", str(tmp_path / "no"), "./no", "~/no-such-model", "a/b/c"):
        assert said(**{key: missing}) == ["E007"]
    for fine in (tmp_path, str(tmp_path), "clip-ViT-B-32", "org/name"):
        assert said(**{key: fine}) == []


def test_e008_device_and_precision(said):
    assert said(DEVICE="gpu", PRECISION="int8") == ["E008", "E008"]
    for device in ("auto", "cpu", "cuda", "cuda:1", "mps"):
        assert said(DEVICE=device, PRECISION="bfloat16") == []


@pytest.mark.parametrize(
    "encoder",
    [
        "Encoder",
        "no.such.module.Encoder",
        "clip_search.nowhere.Encoder",
        "clip_search.testing.HashingEncodr",
        "clip_search.encoders.clip.ClipEncoders",
        ".",
    ],
)
def test_e009_encoder(said, encoder):
    assert said(ENCODER=encoder) == ["E009"]


def test_an_encoder_may_come_from_anywhere(said, tmp_path, monkeypatch):
    (tmp_path / "encoders_by_star.py").write_text("from elsewhere import *\nraise ValueError")
    monkeypatch.syspath_prepend(tmp_path)
    assert said(ENCODER="encoders_by_star.Encoder") == []
    assert said(ENCODER="clip_search.testing.HashingEncoder") == []
    assert said(ENCODER="itertools.count") == []  # a module without source


def test_e010_image_formats(said):
    assert said(IMAGE_FORMATS=["JPEG", "HEIC"]) == ["E010"]
    assert said(IMAGE_FORMATS=("jpeg", "PNG")) == []
    assert "PNG" in Image.OPEN


def test_e011_api_document(settings):
    settings.CLIP_SEARCH = GOOD | {"API_DOCUMENT": "prodct"}
    (message,) = checks.check_settings()
    assert message.id == "clip_search.E011"
    assert "product" in message.hint


def test_w003_several_documents_and_none_said(said, settings, monkeypatch):
    assert said(API_DOCUMENT=None) == ["W003"]
    settings.ROOT_URLCONF = "tests.unit.test_checks"
    assert said(API_DOCUMENT=None) == []
    settings.ROOT_URLCONF = None
    assert said(API_DOCUMENT=None) == []
    settings.ROOT_URLCONF = "tests.urls"
    monkeypatch.setattr(registry, "documents", {"product": registry.get("product")})
    assert said(API_DOCUMENT=None) == []


urlpatterns: list[object] = []


@pytest.mark.parametrize("path", ["no.Such", "rest_framework.permissions.Nobody", "pathlib.Path", "plain"])
@pytest.mark.parametrize("key", ["API_PERMISSION_CLASSES", "API_SEARCH_PERMISSION_CLASSES"])
def test_e012_permission_class(said, key, path):
    assert said(**{key: [path]}) == ["E012"]


@pytest.mark.parametrize(
    "classes",
    [
        [],
        ["rest_framework.permissions.AllowAny"],
        ["rest_framework.permissions.IsAuthenticated"],  # every customer with an account
        ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    ],
)
def test_w002_open_writes(said, classes):
    assert said(API_PERMISSION_CLASSES=classes) == ["W002"]
    staff = "rest_framework.permissions.IsAdminUser"
    assert said(API_PERMISSION_CLASSES=[*classes, staff]) == []
    assert said(API_SEARCH_PERMISSION_CLASSES=classes) == []


def test_w007_password_in_an_address(said, settings):
    for address in ("shop:secret@qdrant.example:6333", "secret@qdrant.example", ":secret@h"):
        assert said(QDRANT={"url": f"https://{address}"}) == ["W007"], address
    assert said(QDRANT={"host": "shop:secret@qdrant.example"}) == ["E017"]
    assert not any("secret" in str(message) for message in checks.check_settings())
    for fine in (
        "https://qdrant.example:6333/a@b:c",
        "http://localhost:6333",
        "https://qdrant.example/?a=b@c",
    ):
        assert said(QDRANT={"url": fine}) == []


@pytest.mark.parametrize("key", ["port", "grpc_port"])
def test_e020_port(said, key):
    for wrong in ("6333", "", 0, -1, 70000, 65536, True, 1.5, []):
        assert said(QDRANT={"host": "localhost", key: wrong}) == ["E020"], wrong
        assert said(QDRANT={"url": "http://localhost", key: wrong}) == ["E020"], wrong
    for right in (1, 443, 65535, None):
        assert said(QDRANT={"host": "localhost", key: right}) == []
    assert said(QDRANT={"backend": "clip_search.testing.MemoryStore", key: "any"}) == []


def test_w008_relative_path(said, settings):
    settings.DEBUG = True
    for path in (None, 1):
        assert said(QDRANT={"path": path}) == ["E005"]
    for path in ("qdrant", Path("data/qdrant"), "~/qdrant"):  # which stands for no home here
        assert said(QDRANT={"path": path}) == ["W008"]


@pytest.mark.parametrize("server", [{"url": "http://localhost:6333"}, {"host": "localhost"}])
def test_w009_a_server_without_the_name_of_the_installation(said, server):
    assert said(QDRANT=server, INSTALLATION="") == ["W009"]
    assert said(QDRANT=server, INSTALLATION=None) == ["W009"]
    assert said(QDRANT=server, INSTALLATION="staging") == []


@pytest.mark.parametrize("qdrant", [{"path": "/var/qdrant"}, {"backend": "shop.Store"}])
def test_a_store_of_one_machine_needs_no_name(said, qdrant):
    assert "W009" not in said(QDRANT=qdrant, INSTALLATION="")


@pytest.mark.parametrize("key", ["API_THROTTLE_RATE", "API_SEARCH_THROTTLE_RATE"])
def test_e013_rate(said, key):
    for wrong in ("60", "60/week", "x/min", "-1/s", ""):
        assert said(**{key: wrong}) == ["E013"]
    for right in ("60/min", "1/s", "5/hour", "9/d", None):
        assert said(**{key: right}) == []


@pytest.mark.parametrize("number", [None, "1", -1, 1.5])
def test_w010_whose_address_is_counted(said, settings, number):
    unset = {k: v for k, v in settings.REST_FRAMEWORK.items() if k != "NUM_PROXIES"}
    settings.REST_FRAMEWORK = unset if number is None else unset | {"NUM_PROXIES": number}
    assert said() == ["W010"]
    for opened in ([], ["rest_framework.permissions.IsAuthenticatedOrReadOnly"]):
        assert said(API_SEARCH_PERMISSION_CLASSES=opened) == ["W010"]
    assert said(API_SEARCH_PERMISSION_CLASSES=["rest_framework.permissions.IsAuthenticated"]) == []
    assert said(API_SEARCH_THROTTLE_RATE=None) == []
    settings.ROOT_URLCONF = "tests.unit.test_checks"  # where nothing is mounted
    assert said() == []


urlpatterns: list[object] = []


def test_w010_is_silent_where_the_number_of_proxies_is_set(said, settings):
    for number in (0, 1, 2):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": number}
        assert said() == []
    del settings.REST_FRAMEWORK
    assert said() == ["W010"]


# The queue


def test_nothing_is_said_of_a_good_queue_nor_of_none(said_of_queue):
    assert said_of_queue() == ["W006"]  # the second database of the tests is without WAL
    assert said_of_queue(None) == []


def test_e014_queue_missing(said_of_queue, settings):
    assert said_of_queue("slow") == ["E014"]
    del settings.RQ_QUEUES
    assert ids(checks.check_queue()) == ["E014"]


@pytest.mark.parametrize(
    "entry",
    ["redis://localhost", None, 5, ["localhost"]],
)
def test_e014_entry_that_is_no_dict(settings, entry):
    settings.CLIP_SEARCH = GOOD | {"QUEUE": "default"}
    settings.RQ_QUEUES = {"default": entry}
    assert ids(checks.check_queue()) == ["E014"]
    settings.RQ_QUEUES = entry
    assert ids(checks.check_queue()) == ["E014"]


def test_e015_django_rq_not_installed(said_of_queue, settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_rq"]
    assert "E015" in said_of_queue()


@pytest.mark.parametrize("worker", [None, "rq.Worker", "no.Such", int])
def test_w004_forking_worker(said_of_queue, settings, worker):
    settings.RQ = {"WORKER_CLASS": worker} if worker else {}
    assert "W004" in said_of_queue()
    for fine in (WORKER, "tests.unit.test_checks.OwnWorker", EmbeddingWorker):
        settings.RQ = {"WORKER_CLASS": fine}
        assert "W004" not in said_of_queue()


@pytest.mark.parametrize("name", ["rq.serializers.DefaultSerializer", "rq.serializers.PickleSerializer"])
def test_w005_pickle(said_of_queue, settings, name):
    assert "W005" in said_of_queue(SERIALIZER=name)
    settings.RQ_QUEUES = {"default": {}}
    assert "W005" in ids(checks.check_queue())
    from rq.serializers import DefaultSerializer, JSONSerializer

    assert "W005" in said_of_queue(SERIALIZER=DefaultSerializer)
    assert "W005" not in said_of_queue(SERIALIZER=JSONSerializer)


SQLITE = {"ENGINE": "django.db.backends.sqlite3"}
WAL = {"init_command": "PRAGMA journal_mode = WAL;"}


@pytest.mark.parametrize(
    ("database", "numbers"),
    [
        (SQLITE, ["W006"]),
        (SQLITE | {"OPTIONS": WAL}, ["W006"]),
        (SQLITE | {"OPTIONS": {"transaction_mode": "IMMEDIATE"}}, ["W006"]),
        (SQLITE | {"OPTIONS": WAL | {"transaction_mode": "immediate"}}, []),
        ({"ENGINE": "django.db.backends.postgresql"}, []),
    ],
)
@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_w006_sqlite(said_of_queue, settings, monkeypatch, database, numbers):
    monkeypatch.setattr(registry, "documents", {})
    settings.DATABASES = {"default": database}
    assert said_of_queue() == numbers


# Documents


def said_of(model=Product, base=Document, **attributes: object) -> list[str]:
    """Return the numbers said of a document of these attributes."""
    declared = {"text_fields": ["name"]} | attributes
    return ids(check_document(BoundDocument(type("Shop", (base,), declared)(model))))


class OwnId(Document):
    text_fields = ("name",)

    def product_id(self, obj):
        return obj.sku


def test_nothing_is_said_of_a_good_document():
    assert (
        said_of(
            image_field="images.original",
            filter_fields={"category": Keyword("category.slug"), "in_stock": Bool("in_stock")},
            related={ProductImage: "product", Category: ["products"]},
            name="shop-2.of_mugs",
        )
        == []
    )


def test_documents_of_the_given_apps_are_checked(monkeypatch):
    bad = BoundDocument(type("Bad", (Document,), {"text_fields": ["no"]})(Product))
    monkeypatch.setattr(registry, "documents", {"bad": bad})
    assert ids(checks.check_documents()) == ["E103"]
    assert ids(checks.check_documents([apps.get_app_config("shop")])) == ["E103"]
    assert checks.check_documents([apps.get_app_config("auth")]) == []


def test_e019_registration():
    """All ways to go wrong are in tests/hardening/test_registration.py."""
    try:
        with registry.discovering():
            register("shop.Product")(type("ShopDocument", (Document,), {}))
        assert "E019" in ids(checks.check_documents())
    finally:
        registry.mistakes.clear()
    assert "E019" not in ids(checks.check_documents())


def test_w011_no_document(monkeypatch):
    monkeypatch.setattr("clip_search.checks.documents.registry", Registry())
    assert ids(checks.check_documents()) == ["W011"]


@pytest.mark.parametrize("name", ["two words", "x" * 101, "a/b", "é"])
def test_e101_name(name):
    assert said_of(name=name) == ["E101"]


def test_e102_using():
    assert said_of(using="nowhere") == ["E102"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"text_fields": ["nmae"]},
        {"text_fields": ["name"], "image_field": "images.orignal"},
        {"exact_fields": ["category.nope"]},
        {"filter_fields": {"a": Keyword("nope.slug")}},
    ],
)
def test_e103_missing_field(attributes):
    related = {ProductImage: "product", Category: "products"}
    assert said_of(**attributes, related=related) == ["E103"]


def test_e103_lists_the_fields_of_the_model_at_fault():
    document = BoundDocument(type("Shop", (Document,), {"text_fields": ["images.orignal"]})(Product))
    message = next(m for m in check_document(document) if m.id == "clip_search.E103")
    assert "ProductImage has: id, original, position, product." in message.hint
    document = BoundDocument(type("Shop", (Document,), {"text_fields": ["nmae"]})(Product))
    (message,) = check_document(document)
    assert "images, in_stock" in message.hint  # by the name that a path would use


def test_w103_nothing_to_search_by():
    assert said_of(text_fields=[]) == ["W103"]
    assert said_of(text_fields=[], get_text=lambda self, obj: "x") == []
    assert said_of(text_fields=[], get_images=lambda self, obj: []) == []
    assert said_of(text_fields=[], image_field="images.original", related={ProductImage: "product"}) == []


@pytest.mark.parametrize("key", ["_clip", "name", "price__lte", "a.b", "_a", "", "é"])
def test_e105_filter_key(key):
    assert said_of(filter_fields={key: Keyword("sku")}) == ["E105"]


def test_e105_what_endpoints_and_template_tags_take_themselves():
    taken = {*serializers.SearchSerializer().fields, *serializers.PhotoSerializer().fields}
    for tag in (tags.clip_search, tags.similar_products):
        taken |= set(inspect.signature(tag).parameters) - {"filters"}
    assert taken >= {"q", "page", "limit"}
    for key in taken:
        assert said_of(filter_fields={key: Keyword("sku")}) == ["E105"], key
    assert said_of(filter_fields={"format": Keyword("sku")}) == []


@pytest.mark.parametrize(
    "related",
    [
        {"shop.ProductImage": "product"},
        {ProductImage: "prodct"},
        {ProductImage: "product.category"},
        {ProductImage: "product.name"},
        {Category: ["products", "nope"]},
    ],
)
def test_e106_related(related):
    assert said_of(related=related) == ["E106"]


def test_what_is_no_model_watches_nothing():
    assert said_of(image_field="images.original", related={"shop.ProductImage": "product"}) == [
        "E106",
        "W101",
    ]


def test_related_may_lead_to_a_relative_of_the_model():
    assert said_of(model=Book, related={Category: "products"}) == []
    assert said_of(model=SaleProduct, related={Tag: "products"}) == []


def test_e107_get_queryset():
    for wrong in (
        lambda self: Article.objects.all(),
        lambda self: [],
        lambda self: 1 / 0,
    ):
        assert said_of(get_queryset=wrong) == ["E107"]

    def not_migrated(self):
        raise OperationalError("no such table")

    assert said_of(get_queryset=not_migrated) == []


def test_e117_shape_of_the_queryset():
    for wrong in (
        lambda self: Product.objects.all()[:10],
        lambda self: Product.objects.values("name"),
        lambda self: Product.objects.all().union(Product.objects.all()),
    ):
        assert said_of(get_queryset=wrong) == ["E117"]


@pytest.mark.parametrize("count", [0, -1, None, "2"])
def test_e108_max_images(count):
    assert said_of(max_images=count) == ["E108"]


def test_e109_product_id_overridden_alone():
    assert OwnId(Product).product_id(Product(sku="M1")) == "M1"
    assert said_of(base=OwnId) == ["E109"]
    own = {"product_id": lambda self, obj: obj.path}
    assert said_of(Shelf, **own) == ["E109"]
    assert said_of(Shelf, **own, id_field="path") == []


def test_e110_id_field():
    assert said_of(id_field="sku") == ["E110"]
    assert said_of(id_field="nope") == ["E110"]
    assert said_of(id_field="id") == []


@pytest.mark.parametrize(
    "attributes",
    [
        {"text_fields": "name"},
        {"exact_fields": [1]},
        {"image_field": ["images.original"]},
        {"filter_fields": {"sku": "sku"}},
        {"filter_fields": ["sku"]},
        {"filter_fields": {1: Keyword("sku")}},
        {"related": [ProductImage]},
    ],
)
def test_e111_wrong_type(attributes):
    assert said_of(**attributes) == ["E111"]


@pytest.mark.parametrize(
    "weights",
    [None, {}, {"text": 1}, {"text": 0, "image": 0}, {"text": -1, "image": 1}, {"text": "1", "image": 1}],
)
def test_e112_weights(weights):
    assert said_of(weights=weights) == ["E112"]


@pytest.mark.parametrize("prompt", ["a photo of", "a photo of {}", "", None])
def test_e113_query_prompt(prompt):
    assert said_of(query_prompt=prompt) == ["E113"]


def test_e116_type_of_a_filter():
    assert said_of(filter_fields={"price": Number("name")}) == ["E116"]
    assert said_of(filter_fields={"price": Number("name")}, get_payload=lambda self, obj: {}) == []


def test_e115_language():
    assert said_of(language="xx") == ["E115"]
    assert said_of(language="de") == []


def test_e114_key_of_several_columns():
    class Pair(models.Model):
        pk = models.CompositePrimaryKey("name", "number")
        name = models.CharField(max_length=50)
        number = models.IntegerField()

        class Meta:
            app_label = "shop"

        def __str__(self) -> str:
            return self.name

    try:
        assert said_of(Pair) == ["E114"]
    finally:
        del apps.all_models["shop"]["pair"]


@pytest.mark.parametrize("path", ["name", "category.name", "images", "tags.name"])
def test_w102_image_field_is_no_file(path):
    related = {Category: "products", ProductImage: "product", Tag: "products"}
    assert said_of(image_field=path, related=related) == ["W102"]
    assert said_of(image_field=path, related=related, get_images=lambda self, obj: []) == []


@pytest.mark.parametrize("path", ["images.original", "images.all.original", "cover", "main_image.original"])
def test_an_image_field_that_cannot_be_known_is_fine(monkeypatch, path):
    monkeypatch.setattr(Product, "cover", property(lambda self: None), raising=False)
    monkeypatch.setattr(Product, "main_image", property(lambda self: None), raising=False)
    assert "W102" not in said_of(image_field=path)


def test_w104_storage_that_overwrites(monkeypatch):
    class Bucket(Storage):
        file_overwrite = True

    declared = {"image_field": "images.original", "related": {ProductImage: "product"}}
    assert said_of(**declared) == []
    monkeypatch.setattr(ProductImage._meta.get_field("original"), "storage", Bucket())
    assert said_of(**declared) == ["W104"]


def test_w101_relation_that_nobody_watches():
    assert said_of(image_field="images.original") == ["W101"]
    assert said_of(text_fields=["category.name", "category.slug", "tags.name"]) == ["W101", "W101"]
    assert said_of(text_fields=["category.name"], related={Category: "products"}) == []


# All of them


def test_every_number_is_in_the_table_and_in_a_test():
    root = Path(checks.__file__).parent
    source = "".join(file.read_text() for file in root.glob("*.py"))
    said = set(re.findall(r"\b(?:error|warning)\(\s*\"clip_search\.([EW]\d{3})\"", source))
    listed = set(re.findall(r"^([EW]\d{3}) ", checks.__doc__, re.MULTILINE))
    tested = {name[5:9].upper() for name in globals() if re.match(r"test_[ew]\d{3}_", name)}
    assert said == listed == tested


def test_checks_import_neither_model_nor_store(start_process, tmp_path):
    code = (
        "import django, sys; django.setup(); from django.core import checks; "
        "checks.run_checks(tags=['clip_search']); sys.exit(any(m in sys.modules for m in "
        "('torch', 'sentence_transformers', 'qdrant_client', 'qdrant_edge')))"
    )
    process = start_process("-c", code, CLIP_SEARCH_TEST_QUEUE="default", CLIP_SEARCH_TEST_DATA=str(tmp_path))
    assert process.wait() == 0
