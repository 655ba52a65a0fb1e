"""Progress and help of the commands."""

from __future__ import annotations

import io
import re
import sys

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from clip_search.management import base as shared_by_commands

from .actions import make, run

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
    shown = shared_by_commands.Progress(BaseCommand(stdout=output), 5, "Waiting")
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
