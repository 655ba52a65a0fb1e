"""clip_verify."""

from __future__ import annotations

import pytest

from clip_search.encoders import get_encoder
from clip_search.models import IndexEntry
from clip_search.stores import get_store
from clip_search.types import Point, Stamp
from tests.shops.shop.models import Product

from .actions import DOCUMENT, State, collection, complain, make, run

pytestmark = pytest.mark.django_db


def orphan() -> Point:
    encoder = get_encoder()
    found = Point(
        id=DOCUMENT.point_id("gone-long-ago"),
        stamp=Stamp(product_id="gone-long-ago", revision=7, fingerprint=encoder.fingerprint),
        vectors={"text": encoder.embed_texts(["old"])[0]},
    )
    get_store().put(collection(), [found])
    return found


def test_verify_removes_what_the_database_does_not_know_and_makes_what_is_missing():
    made = make(3)
    run("clip_reindex")
    lost = DOCUMENT.point_id(str(made[0].pk))
    get_store().lose(collection(), lost)
    stray = orphan()
    said = complain("clip_verify", "product", "--dry-run")
    assert f"product {made[0].pk}: differs from the index" in said
    assert "product gone-long-ago: differs from the index" in said
    assert said.endswith("2 of product differ")
    assert get_store().get(collection(), [lost]) == {}
    said = run("clip_verify")
    assert "4 products: 1 embedded, 2 unchanged, 3 without image, 1 removed in" in said
    assert get_store().count(collection()) == 3
    assert get_store().get(collection(), [stray.id])[stray.id].stamp.removed
    assert run("clip_verify", "product", "--dry-run") == "product: 0 differ (dry run, nothing was changed)\n"


def test_verify_removes_a_point_whose_entry_says_removed():
    made = make(2)
    run("clip_reindex")
    Product.objects.filter(pk=made[0].pk)._raw_delete("default")
    IndexEntry.objects.filter(product_id=str(made[0].pk)).update(state=State.REMOVED)
    assert "1 removed" in run("clip_verify")
    assert get_store().count(collection()) == 1


@pytest.mark.parametrize(
    ("count", "said_at_the_end"), [(1, "1 differs"), (20, "20 differ"), (21, "21 differ"), (25, "25 differ")]
)
def test_the_first_differences_are_named_and_all_are_counted(count, said_at_the_end):
    made = make(count)
    dry = complain("clip_verify", "product", "--dry-run")
    assert dry.count(": differs from the index\n") == min(count, 20)
    assert ("… and 1 more\n" in dry, "… and 5 more\n" in dry) == (count == 21, count == 25)
    assert f"product: {said_at_the_end} (dry run, nothing was changed)\n" in dry
    verb = said_at_the_end.removeprefix(str(count))
    assert dry.endswith(f"\n{count} of product{verb}")
    said = run("clip_verify")
    assert said.count(": differs from the index\n") == min(count, 20)
    assert f"product: {said_at_the_end}\n" in said
    assert len(made) == get_store().count(collection())
