"""Starting a shop, checking it, saving a product and decoding a photo import no model and no client."""

from __future__ import annotations

import json

import pytest

from clip_search.models import IndexEntry
from tests.conftest import PATIENCE

HEAVY = ("torch", "sentence_transformers", "transformers", "qdrant_client", "qdrant_edge")
SCRIPT = f"""
import json, sys
def loaded():
    return sorted(set({HEAVY!r}) & set(sys.modules))
import django
from django.conf import settings
settings.CLIP_SEARCH["QDRANT"] = json.loads(sys.argv[1])
django.setup()
found = {{"setup": loaded()}}
from django.core.management import call_command
call_command("check", verbosity=0)
found["check"] = loaded()
from django.db import transaction
from tests.shops.shop.models import Product
with transaction.atomic():
    Product.objects.create(name="Mug", sku="M")
found["save"] = loaded()
from clip_search import images
from tests.unit.images.pictures import FORMATS
images.shrink(FORMATS["JPEG"], 224)  # torch would start threads of its own in each thread that decodes
found["decode"] = loaded()
print(json.dumps(found))
"""


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("qdrant", [{"path": "/nowhere"}, {"url": "http://127.0.0.1:1"}])
def test_setup_checks_saves_and_decoding_import_nothing_heavy(shared, queue, start_process, qdrant):
    environment = shared | {"CLIP_SEARCH_TEST_ENCODER": "clip_search.encoders.clip.ClipEncoder"}
    process = start_process("-W", "ignore", "-c", SCRIPT, json.dumps(qdrant), **environment)
    output, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(output.splitlines()[-1]) == {"setup": [], "check": [], "save": [], "decode": []}, output
    assert queue.count == 1
    assert IndexEntry.objects.count() == 1
