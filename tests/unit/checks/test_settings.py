"""The checks of CLIP_SEARCH and of the settings around it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core import checks as django_checks
from PIL import Image

from clip_search import checks
from clip_search.checks import configuration
from clip_search.conf import DEFAULTS
from clip_search.documents.registry import registry
from tests.shops.shop.models import Product

from .actions import GOOD, ids

urlpatterns: list[object] = []


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
    "API_SUGGEST_THROTTLE_RATE": 300,
    "MAX_IMAGE_BYTES": True,
    "MAX_IMAGE_PIXELS": 1e6,
    "IMAGE_FORMATS": [],
    "STATUS_TOKEN": 5,
}


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
        *(
            {"url": url}
            for url in ([], ["http://x", "qdrant"], ["http://x,http://y", ""], [None], {"a": "b"})
        ),
        *({"host": host} for host in ("http://x", "", None)),
    ],
)
def test_e017_address_of_qdrant(said, qdrant):
    assert said(QDRANT=qdrant) == ["E017"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost:6333", "https://x.cloud.qdrant.io", "http://[::1]:6333/qdrant", "HTTP://x"),
        *(["http://qdrant-1:6333", "http://qdrant-2:6333"], ("https://qdrant",)),
    ],
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


def test_e023_a_token_that_is_short_or_has_spaces(said):
    for wrong in ("short", "a b" * 10):
        assert said(STATUS_TOKEN=wrong) == ["E023"]
    for right in (None, "a" * 20):
        assert said(STATUS_TOKEN=right) == []


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
    settings.ROOT_URLCONF = "tests.unit.checks.test_settings"
    assert said(API_DOCUMENT=None) == []
    settings.ROOT_URLCONF = None
    assert said(API_DOCUMENT=None) == []
    settings.ROOT_URLCONF = "tests.urls"
    monkeypatch.setattr(registry, "documents", {"product": registry.get("product")})
    assert said(API_DOCUMENT=None) == []


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
        assert said(QDRANT={"url": ["https://qdrant.example", f"https://{address}"]}) == ["W007"], address
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


@pytest.mark.parametrize("key", ["timeout", "search_timeout"])
def test_e022_timeout(said, key):
    for wrong in ("10", "", 0, -1, True, float("inf"), float("nan"), []):
        assert said(QDRANT={"url": "http://localhost", key: wrong}) == ["E022"], wrong
    for right in (1, 0.5, 3600, None):
        assert said(QDRANT={"url": "http://localhost", key: right}) == []
    assert said(QDRANT={"backend": "clip_search.testing.MemoryStore", key: "any"}) == []


@pytest.mark.parametrize(
    ("qdrant", "found"),
    [
        ({"url": "http://qdrant:6333"}, ["W012"]),
        ({"url": "HTTP://10.0.0.5:6333"}, ["W012"]),
        ({"url": ["https://qdrant-1", "http://qdrant-2"]}, ["W012"]),
        ({"host": "qdrant", "https": False}, ["W012"]),
        ({"url": "https://qdrant:6333"}, []),
        ({"url": ["http://localhost:6333", "http://127.0.0.2", "http://[::1]:6333"]}, []),
        ({"host": "qdrant"}, []),  # qdrant-client then uses https
        ({"host": "localhost", "https": False}, []),
    ],
)
def test_w012_key_without_encryption(said, qdrant, found):
    assert said(QDRANT=qdrant | {"api_key": "very-secret"}) == found
    assert said(QDRANT=qdrant) == said(QDRANT=qdrant | {"api_key": None}) == []
    assert not any("very-secret" in str(message) for message in checks.check_settings())


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


@pytest.mark.parametrize(
    "key", ["API_THROTTLE_RATE", "API_SEARCH_THROTTLE_RATE", "API_SUGGEST_THROTTLE_RATE"]
)
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
    settings.ROOT_URLCONF = "tests.unit.checks.test_settings"  # where nothing is mounted
    assert said() == []


def test_w010_is_silent_where_the_number_of_proxies_is_set(said, settings):
    for number in (0, 1, 2):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": number}
        assert said() == []
    del settings.REST_FRAMEWORK
    assert said() == ["W010"]
