"""Collections, related changes and migrations."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from clip_search.models import Collection, RelatedChange

pytestmark = [pytest.mark.django_db, pytest.mark.sql]

# Collections.


def test_one_live_collection_and_the_active_in_order(document):
    def make(state: str, generation: int) -> Collection:
        return Collection.objects.create(
            document="product", name=f"p{generation}", generation=generation, state=state, dimension=2
        )

    building, live = make("building", 2), make("live", 1)
    assert Collection.objects.of(document).active() == [live, building]
    assert str(live) == "p1"
    with pytest.raises(IntegrityError), transaction.atomic():
        make("live", 3)


def test_a_related_change_says_what_changed():
    assert (
        str(RelatedChange(document="product", model="shop.category", object_id="3"))
        == "product: shop.category 3"
    )


# Migrations.


def test_the_migrations_are_complete():
    call_command("makemigrations", "clip_search", check=True, dry_run=True, verbosity=0)
