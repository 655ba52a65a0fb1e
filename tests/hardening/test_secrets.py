"""Neither the key of Qdrant nor a password in its address is on an error page, in a log or in an answer."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory
from django.urls import path
from django.views.debug import ExceptionReporter

from clip_search.conf import conf
from clip_search.exceptions import SetupError, in_one_line, without_password
from clip_search.stores import get_store, reset_stores
from tests.shops.shop.clip_documents import ProductDocument

pytest.importorskip("qdrant_client")
pytestmark = pytest.mark.urls(__name__)

# In pieces, because the pages show the lines of the source around each frame.
WORD = "-".join(["very", "secret"])
ADDRESS = f"http://shop:{WORD}@127.0.0.1:1"


def broken(request: Any) -> None:
    """Fail as a view of the host: Django's page lists all settings."""
    raise ZeroDivisionError


urlpatterns = [path("broken", broken)]


@pytest.fixture
def qdrant(settings):
    """Return a function that sets QDRANT, and other keys of CLIP_SEARCH."""

    def set_to(value: Any, **keys: Any) -> None:
        settings.CLIP_SEARCH = settings.CLIP_SEARCH | keys | {"QDRANT": value}
        reset_stores()

    return set_to


WRONG: list[Any] = [
    {"url": ADDRESS},
    {"url": ADDRESS, "prefix": "a", "api_key": WORD},
    {"url": ADDRESS + "/a", "prefix": "b"},
    {"url": ADDRESS, "prefer_grpc": True, "timeout": 1},
    {"url": f"ftp://{WORD}@host"},
    {"url": f"http://shop:{WORD}@[::1"},
    {"url": f"http://shop:{WORD}@host:70000"},
    {"url": ADDRESS, "port": "abc"},
    {"url": ADDRESS, "host": "other"},
    {"url": ADDRESS, "nonsense": True},
    {"url": ADDRESS, "headers": {"Authorization": WORD}, "timeout": "long"},
    {"url": [ADDRESS, f"{ADDRESS}/a"], "api_key": WORD, "search_timeout": 1},
    {"url": [f"ftp://{WORD}@host", ADDRESS]},
    {"url": [ADDRESS], "search_timeout": "long"},
    {"host": f"shop:{WORD}@127.0.0.1", "port": 1},
    {"host": f"shop:{WORD}@127.0.0.1", "port": 1, "prefer_grpc": True, "timeout": 1},
    {"path": "/nowhere", "api_key": WORD},
    {"backend": "nowhere.Store", "password": WORD, "address": ADDRESS},
    {"adress": ADDRESS, "api_key": WORD},
    ADDRESS,
]


def pages(error: BaseException) -> str:
    """Return what Django shows and mails of an error, without the frame of the test itself."""
    trace = error.__traceback__
    reporter = ExceptionReporter(RequestFactory().get("/"), type(error), error, trace and trace.tb_next)
    return reporter.get_traceback_html() + reporter.get_traceback_text()


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_no_error_of_the_store_shows_it(settings, qdrant, number, debug):
    settings.DEBUG = debug
    qdrant(WRONG[number])
    with pytest.raises(Exception, match=r".") as caught:
        get_store().count("shop")
    shown = pages(caught.value)
    assert "count" in shown or "get_store" in shown
    for text in (shown, "".join(traceback.format_exception(caught.value)), in_one_line(caught.value)):
        assert WORD not in text


@pytest.mark.parametrize("keys", [{"BATCH_SIZE": WORD}, {"MAX_IMAGE_BYTES": WORD}, {"QUEUE": None}])
def test_no_error_of_another_setting_shows_it(qdrant, keys):
    qdrant({"url": ADDRESS, "api_key": WORD}, **keys)
    if "QUEUE" in keys:
        django_settings.CLIP_SEARCH["IMAGE_FORMATS"] = 5
    with pytest.raises(SetupError) as caught:
        _ = conf.batch_size, conf.max_image_bytes, conf.image_formats
    frames = pages(caught.value).partition("Settings")[0]  # below, Django shows each as it is
    assert "conf.py" in frames
    assert WORD not in frames


@pytest.mark.parametrize("url", [ADDRESS, [ADDRESS, "http://localhost"], (ADDRESS,)])
def test_the_address_stays_what_it_is(qdrant, url):
    qdrant({"url": url, "timeout": 1})
    assert conf.qdrant == {"url": url, "timeout": 1}
    assert django_settings.CLIP_SEARCH["QDRANT"]["url"] == url
    assert WORD not in repr(django_settings.CLIP_SEARCH)


def test_the_page_of_a_host_s_own_error_does_not_show_it(start_process, tmp_path):
    """From the start of the process, before anything has used the store."""
    code = (
        "import django; django.setup();"
        "from django.test import Client;"
        "answer = Client(raise_request_exception=False).get('/broken');"
        "print(answer.status_code, answer.content.decode())"
    )
    process = start_process(
        *("-W", "ignore", "-c", code),
        DJANGO_SETTINGS_MODULE="tests.hardening.secrets_settings",
        CLIP_SEARCH_TEST_QDRANT_STUB=ADDRESS,
        CLIP_SEARCH_TEST_DATA=str(tmp_path),
    )
    output, _ = process.communicate(timeout=60)
    assert "\n500 <!DOCTYPE html>" in output
    assert "CLIP_SEARCH" in output
    assert WORD not in output


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls("tests.urls")
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_neither_logs_nor_answers_show_it(qdrant, caplog, number):
    caplog.set_level(logging.DEBUG)
    staff = Client(raise_request_exception=False)
    staff.force_login(get_user_model().objects.create_superuser("staff"))
    fields = {"product_id": "P-1", "name": "Red mug"}
    assert staff.post("/api/v1/index-product", fields).status_code == 200
    qdrant(WRONG[number])
    answers = [staff.post("/api/v1/index-product", fields), staff.get("/api/v1/search", {"q": "red mug"})]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert WORD not in "".join(answer.content.decode() for answer in answers)
    with pytest.raises(Exception, match=r".") as caught:
        list(ProductDocument.search("red mug"))
    assert WORD not in "".join(traceback.format_exception(caught.value))
    assert "clip_search" in caplog.text
    assert WORD not in caplog.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://a:b@host:1/x", "at https://********@host:1/x"),
        ("redis://:b@host and amqp://c@d", "redis://********@host and amqp://********@d"),
        ("a:b@host", "********@host"),
        ("//a:b@c@host", "//********@host"),
        ("mail shop@host, https://host/a@b", "mail shop@host, https://host/a@b"),
    ],
)
def test_what_is_hidden_of_an_address(text, shown):
    assert without_password(text) == shown
