"""Files of judgments, right and wrong ones."""

from __future__ import annotations

import pytest

from clip_search.evaluation.judgments import BadJudgments, parse_judgments, read_judgments


def parse(text: str):
    return parse_judgments(text.splitlines(keepends=True))


def test_judgments_are_grades_by_query_and_product():
    read = parse("query,product,grade\nred mug,1,2\nred  mug,2,0.5\n\nvase,1,0\n")
    assert read == {"red mug": {"1": 2.0, "2": 0.5}, "vase": {"1": 0.0}}


def test_columns_may_be_in_any_order_and_separated_as_spreadsheets_do():
    assert parse("Note;Grade;Product;Query\nx;1;A/1;a, b\n") == {"a, b": {"A/1": 1.0}}
    assert parse("query\tproduct\tgrade\nmug\t1\t1\n") == {"mug": {"1": 1.0}}
    assert parse('query,product,grade\n"mug, ""red""",1,1\n') == {'mug, "red"': {"1": 1.0}}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "Line 1 has no column 'query'"),
        ("red mug,1,1\n", "Line 1 has no column 'query'"),
        ("query,product\nmug,1\n", "Line 1 has no column 'grade'"),
        ("query,product,grade\n", "no judgments"),
        ("query,product,grade\nmug,1,1\nmug,2\n", "Line 3 has no grade"),
        ("query,product,grade\n,1,1\n", "Line 2 has no query"),
        ("query,product,grade\nmug,,1\n", "Line 2 has no product"),
        ("query,product,grade\n\nmug,1,good\n", "Line 3: the grade is 'good'"),
        ("query,product,grade\nmug,1,-1\n", "Line 2: the grade is '-1'"),
        ("query,product,grade\nmug,1,nan\n", "Line 2: the grade is 'nan'"),
        ("query,product,grade\nmug,1,inf\n", "Line 2: the grade is 'inf'"),
        ("query,product,grade\nmug,1,1\nmug,1,2\n", "Line 3: the product '1' has a grade for 'mug' already"),
    ],
)
def test_an_error_names_the_line(text, error):
    with pytest.raises(BadJudgments, match=error):
        parse(text)


def test_files_are_read_with_and_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "judgments.csv"
    path.write_bytes("\ufeffquery,product,grade\ncafetière,1,1\n".encode())
    assert read_judgments(path) == {"cafetière": {"1": 1.0}}
    path.write_bytes("query,product,grade\ncafetière,1,1\n".encode("latin-1"))
    with pytest.raises(BadJudgments, match="not in UTF-8"):
        read_judgments(path)
    with pytest.raises(BadJudgments, match="No such file"):
        read_judgments(tmp_path / "missing.csv")
