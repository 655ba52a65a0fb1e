"""The metadata field."""

from __future__ import annotations

import json

import pytest

from clip_search.api import metadata, serializers

from .actions import FIELDS, SEARCH, SYNC

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("extra-data", "extra-data"),
        ("", None),
        (None, None),
        ("  ", None),
        ("123", "123"),
        ("NaN", "NaN"),
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("{'a': None, 'b': (1, True)}", "{'a': None, 'b': (1, True)}"),
        (str({"price": 4.5, "tag": ["a"]}), "{'price': 4.5, 'tag': ['a']}"),
        ("{'_clip': 1}", "{'_clip': 1}"),
        ("{1, 2}", "{1, 2}"),
        ("{'a': b'x'}", "{'a': b'x'}"),
        ('{"a": NaN}', '{"a": NaN}'),
        ("{'a': 1e999}", "{'a': 1e999}"),
        ("{'a': __import__('os')}", "{'a': __import__('os')}"),
        ("{broken", "{broken"),
        ("{'a':" * 1000, "{'a':" * 1000),
        ("[" + "-" * 60_000 + "1]", "[" + "-" * 60_000 + "1]"),
        ("[" * 30_000, "[" * 30_000),
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        (7, 7),
    ],
)
def test_metadata_is_free_text_or_json(sent, kept):
    field = serializers.MetadataField(allow_null=True)
    assert field.run_validation(sent) == kept


def test_metadata_is_promoted_to_filters(client, document):
    meta = {"price": "4.50", "in_stock": "true", "category": "kitchen", "colour": "red"}
    client.post(SYNC, FIELDS | {"metadata": json.dumps(meta)})
    payload = client.get(SEARCH, {"q": "mug"}).json()["results"][0]["payload"]
    assert payload["metadata"] == meta
    assert (payload["price"], payload["in_stock"], payload["category"]) == (4.5, True, "kitchen")
    assert "colour" not in payload


def test_metadata_field_gives_back_what_it_has():
    assert serializers.MetadataField().to_representation({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("value", [object(), b"x"])
def test_metadata_of_another_kind_is_refused(value):
    with pytest.raises(serializers.serializers.ValidationError):
        serializers.MetadataField().run_validation(value)


def test_deep_nesting_is_refused_without_recursion():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert "nested" in metadata.mistake(value)
    while value:  # taken apart by hand: deleting it at once would recurse
        value = value.pop()
