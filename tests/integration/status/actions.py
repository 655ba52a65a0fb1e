"""What tests of the status use."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from typing import Any

import jsonschema
from django.core.management import CommandError, call_command
from django.utils import timezone

from clip_search.models import IndexEntry
from tests.conftest import ROOT

from ..commands.actions import complain

SCHEMA = json.loads((ROOT / "docs" / "reference" / "clip_status.schema.json").read_text())
State = IndexEntry.State


def as_json(*arguments: str) -> dict[str, Any]:
    """Return what `clip_status --json` prints, which is valid and fits its exit status."""
    output, status = io.StringIO(), 0
    try:
        call_command("clip_status", *(arguments or ("product",)), "--json", stdout=output)
    except CommandError:
        status = 1
    found = json.loads(output.getvalue())
    jsonschema.validate(found, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert found["ok"] == (status == 0) == (not found["problems"])
    return found


def the(found: dict[str, Any]) -> dict[str, Any]:
    """Return the only document of a status."""
    (document,) = found["documents"]
    return document


def assert_wrong(code: str, sentence: str, *arguments: str) -> dict[str, Any]:
    """Assert that the command exits with status 1 and says this, as text and as JSON. Return the JSON."""
    said = complain("clip_status", *(arguments or ("product",)))
    found = as_json(*(arguments or ("product",)))
    (message,) = (problem["message"] for problem in found["problems"] if problem["code"] == code)
    assert re.search(sentence, message), message
    assert "\n" not in message
    assert message in said.splitlines()
    return found


def wait_for(seconds: float) -> None:
    """Let all entries be pending for so long."""
    then = timezone.now() - timedelta(seconds=seconds)
    IndexEntry.objects.update(state=State.PENDING, pending_since=then)
