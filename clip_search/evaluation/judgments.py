"""Read judgments from a CSV file: which products are right for which query, and how right."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ..exceptions import ClipSearchError

COLUMNS: Final = ("query", "product", "grade")
HIGHEST_GRADE: Final = 100.0
DELIMITERS: Final = ",;\t"

Judgments = Mapping[str, Mapping[str, float]]
"""{query: {product id: grade}}. A product with the grade 0 is wrong, as are those that are not named."""


class BadJudgments(ClipSearchError, ValueError):
    """The file of judgments cannot be used. The message names the line."""


def read_judgments(path: Path) -> Judgments:
    """Return the judgments of a CSV file in UTF-8. Raises BadJudgments."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return parse_judgments(file)
    except OSError as error:
        raise BadJudgments(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadJudgments(f"{path} is not in UTF-8. Save it as “CSV UTF-8”.") from error


def parse_judgments(lines: Iterable[str]) -> Judgments:
    """Return the judgments of a CSV file's lines. The first line names the columns. Raises BadJudgments.

    The columns query, product and grade are needed, others are ignored. They are separated by commas,
    semicolons or tabs. Empty lines are skipped.
    """
    text = iter(lines)
    header = next(text, "")
    delimiter = max(DELIMITERS, key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if missing := [column for column in COLUMNS if column not in names]:
        raise BadJudgments(
            f"Line 1 has no column {missing[0]!r}. The first line must name the columns: {','.join(COLUMNS)}."
        )
    judgments: dict[str, dict[str, float]] = {}
    rows = csv.reader(text, delimiter=delimiter)
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                _add(judgments, dict(zip(names, row, strict=False)), rows.line_num + 1)
    except csv.Error as error:
        raise BadJudgments(f"Line {rows.line_num + 1}: {error}.") from error
    if not judgments:
        raise BadJudgments("There are no judgments below the line with the columns.")
    return judgments


def _add(judgments: dict[str, dict[str, float]], cells: Mapping[str, str], line: int) -> None:
    """Add the judgment of a line. Raises BadJudgments."""
    query, product, typed = (" ".join(cells.get(column, "").split()) for column in COLUMNS)
    for column, value in zip(COLUMNS, (query, product, typed), strict=True):
        if not value:
            raise BadJudgments(f"Line {line} has no {column}.")
    try:
        grade = float(typed)
    except ValueError:
        grade = math.nan
    if not 0 <= grade <= HIGHEST_GRADE:
        raise BadJudgments(f"Line {line}: the grade is {typed!r}. Give a number from 0 to {HIGHEST_GRADE:g}.")
    judged = judgments.setdefault(query, {})
    if product in judged:
        raise BadJudgments(f"Line {line}: the product {product!r} has a grade for {query!r} already.")
    judged[product] = grade
