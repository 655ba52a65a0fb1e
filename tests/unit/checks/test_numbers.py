"""Every check has a number, is documented and is tested."""

from __future__ import annotations

import re
from pathlib import Path

from clip_search import checks


def test_every_number_is_in_the_table_and_in_a_test():
    root = Path(checks.__file__).parent
    source = "".join(file.read_text() for file in root.glob("*.py"))
    said = set(re.findall(r"\b(?:error|warning)\(\s*\"clip_search\.([EW]\d{3})\"", source))
    listed = set(re.findall(r"^([EW]\d{3}) ", checks.__doc__, re.MULTILINE))
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    tested = {number.upper() for number in re.findall(r"^def test_([ew]\d{3})_", tests, re.MULTILINE)}
    assert said == listed == tested


def test_checks_import_neither_model_nor_store(start_process, tmp_path):
    code = (
        "import django, sys; django.setup(); from django.core import checks; "
        "checks.run_checks(tags=['clip_search']); sys.exit(any(m in sys.modules for m in "
        "('torch', 'sentence_transformers', 'qdrant_client', 'qdrant_edge')))"
    )
    process = start_process("-c", code, CLIP_SEARCH_TEST_QUEUE="default", CLIP_SEARCH_TEST_DATA=str(tmp_path))
    assert process.wait() == 0
