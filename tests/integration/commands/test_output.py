"""Progress and help of the commands."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from django.core.management import call_command, load_command_class

from clip_search.management import base as shared_by_commands
from tests.shops.shop.clip_documents import ProductDocument
from tests.shops.shop.models import Product

from .actions import complain, make, run

pytestmark = pytest.mark.django_db


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch, capsys):
    make(6)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run("clip_reindex", "product", "--batch-size", "2")
    bar = capsys.readouterr().err
    assert "Indexing product" in bar
    assert "products" in bar
    assert "<" in bar


def test_elsewhere_a_line_says_now_and_then_how_far_it_is(monkeypatch, capsys):
    make(6)
    monkeypatch.setattr(shared_by_commands, "SECONDS_A_LINE", -1.0)
    said = run("clip_reindex", "product", "--batch-size", "2")
    assert re.search(r"^Indexing product: 4 of 6, \d+ a second, \d+ s left$", said, re.MULTILINE)
    assert capsys.readouterr().err == ""


def test_progress_of_nothing_yet_is_said_too(monkeypatch):
    monkeypatch.setattr(shared_by_commands, "SECONDS_A_LINE", -1.0)
    output = io.StringIO()
    shown = shared_by_commands.Progress(shared_by_commands.DocumentCommand(stdout=output), 5, "Waiting")
    shown.add(0)
    shown.close()
    assert output.getvalue() == "Waiting: 0 of 5\n"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("clip_reindex", ["--ids", "--batch-size", "--queue", "--dry-run"]),
        ("clip_rebuild", []),
        ("clip_verify", ["--dry-run"]),
        ("clip_status", []),
    ],
)
def test_help_is_readable(command, options, capsys):
    with pytest.raises(SystemExit) as exit_:
        load_command_class("clip_search", command).run_from_argv(["manage.py", command, "--help"])
    said = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "a document's name, or app.Model; all by default" in " ".join(said.split())
    assert all(option in said for option in options)


@pytest.mark.parametrize("command", ["clip_reindex", "clip_rebuild", "clip_verify", "clip_status"])
def test_verbosity_0_prints_only_what_is_wrong(command, monkeypatch, capsys):
    monkeypatch.setattr(shared_by_commands, "SECONDS_A_LINE", -1.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    make(3)
    run("clip_reindex")
    capsys.readouterr()
    Product.objects.filter(sku="C-1").update(name="Stool")
    assert run(command, "product", "--verbosity", "0") == ""
    Product.objects.bulk_create([Product(name="", sku="N")])
    complain("clip_reindex")
    capsys.readouterr()
    said = complain(command, "product", "--verbosity", "0")
    assert re.fullmatch(r"product \d+: .*neither text nor an image.*\n1 of product failed", said)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", ["clip_reindex", "clip_rebuild", "clip_verify"])
def test_one_product_is_no_products(command):
    make(1)
    run("clip_reindex")
    assert re.search(r"^product: 1 product: 1 [a-z]+", run(command), re.MULTILINE)
    make(1)
    run("clip_reindex")
    assert re.search(r"^product: 2 products: 2 [a-z]+", run(command), re.MULTILINE)


def test_one_point_is_no_points():
    make(1)
    run("clip_reindex")
    assert "(live): 1 point, 256 dimensions" in run("clip_status")
    make(1)
    run("clip_reindex")
    assert "(live): 2 points, 256 dimensions" in run("clip_status")


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
@pytest.mark.parametrize("command", ["clip_reindex", "clip_verify"])
def test_a_changed_max_images_is_said(command, arguments, monkeypatch):
    make(2)
    run("clip_reindex")
    sentence = "product: max_images has changed: run `manage.py clip_rebuild product`\n"
    assert sentence not in run(command, "product", *arguments)
    monkeypatch.setattr(ProductDocument, "max_images", 3)
    assert sentence in run(command, "product", *arguments)
    run("clip_rebuild")
    assert sentence not in run(command, "product", *arguments)


@pytest.mark.django_db(databases=["default", "other"])
def test_cleaning_up_is_quiet_too():
    output = io.StringIO()
    call_command("clip_cleanup", verbosity=0, dry_run=True, stdout=output, stderr=output)
    assert output.getvalue() == ""
    call_command("clip_cleanup", dry_run=True, stdout=output, stderr=output)
    assert "0 to remove (dry run)" in output.getvalue()


@pytest.mark.django_db(databases=["default", "other"])
def test_a_question_and_json_are_printed_nevertheless(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda question: "no")
    output = io.StringIO()
    call_command("clip_cleanup", verbosity=0, stdout=output, stderr=output)  # would ask
    assert "0 to remove" in output.getvalue()
    run("clip_reindex")
    output = io.StringIO()
    call_command("clip_status", verbosity=0, json=True, stdout=output, stderr=output)
    assert json.loads(output.getvalue())["ok"]
