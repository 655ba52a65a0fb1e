"""clip_evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clip_search import searching
from clip_search.documents.registry import registry
from tests.shops.shop.models import Product

from .actions import DOCUMENT, complain, run

pytestmark = pytest.mark.django_db

Write = Callable[[str], str]


@pytest.fixture(autouse=True)
def shop(monkeypatch) -> dict[str, str]:
    """Indexed products of the only document: the ids by name."""
    names = ("red mug", "blue mug", "green mug", "blue vase", "white chair")
    made = Product.objects.bulk_create(Product(name=name, sku=f"S{n}") for n, name in enumerate(names))
    run("clip_reindex")
    monkeypatch.setattr(registry, "documents", {"product": DOCUMENT})
    return {product.name: str(product.pk) for product in made}


@pytest.fixture
def judged(tmp_path: Path) -> Write:
    """Return a function that writes judgments, and returns the path."""

    def write(text: str) -> str:
        path = tmp_path / "judgments.csv"
        path.write_text(f"query,product,grade\n{text}")
        return str(path)

    return write


def figures(path: str, *arguments: str):
    return json.loads(run("clip_evaluate", path, "--json", *arguments))


def test_it_prints_the_figures_of_each_setting(shop, judged):
    path = judged(f"red mug,{shop['red mug']},2\nblue mug,{shop['green mug']},1\n")
    output = run("clip_evaluate", path, "--weights", "words=2", "--weights", "text=0,image=0")
    lines = output.splitlines()
    assert lines[0].startswith("product: 2 queries. Judged: the first 10 results or")
    assert lines[1].split() == ["weights", "nDCG@10", "recall@10", "MRR@10", "empty"]
    assert lines[2].split() == ["default", "0.500", "0.500", "0.500", "0.000"]
    assert [line.split()[0] for line in lines[3:]] == ["words=2", "text=0,image=0"]


def test_the_order_counts(shop, judged):
    hits = [hit.product_id for hit in searching.search(DOCUMENT, "mug").hits()]
    assert len(hits) == 3
    (setting,) = figures(judged(f"mug,{hits[1]},1\n"))["settings"]
    assert setting["mrr@10"] == 0.5
    assert setting["ndcg@10"] == pytest.approx(0.6309297535714575)  # 1 / log2(3)
    assert setting["recall@10"] == 1


def test_the_closest_are_judged_if_nothing_is_found(shop, judged):
    closest = [hit.product_id for hit in searching.search(DOCUMENT, "asdfgh").hits().closest]
    read = figures(judged(f"asdfgh,{closest[0]},1\n"), "--worst", "5")
    assert read["settings"][0]["empty"] == 1
    assert read["settings"][0]["mrr@10"] == 1
    assert read["settings"][0]["worst"][0]["is_empty"]
    whole = figures(judged(f"asdfgh,{closest[0]},1\n"), "--everything")
    assert whole["settings"][0]["empty"] == 0


def test_products_that_are_not_indexed_are_named_and_not_counted(shop, judged):
    path = judged(f"red mug,{shop['red mug']},1\nred mug,no such id,3\nred mug,9999,0\n")
    read = figures(path)
    assert read["unknown_products"] == ["9999", "no such id"]
    assert read["settings"][0]["ndcg@10"] == 1
    assert "not counted: 2 products (9999, no such id)" in run("clip_evaluate", path)


def test_queries_without_a_right_product_have_a_column_of_their_own(shop, judged):
    path = judged(
        f"red mug,{shop['red mug']},1\ncar insurance,{shop['red mug']},0\nmug,{shop['red mug']},0\n"
    )
    read = figures(path)
    assert (read["queries"], read["queries_with_right_products"]) == (3, 1)
    assert read["settings"][0]["rightly_empty"] == 0.5
    assert read["settings"][0]["empty"] == 0
    output = run("clip_evaluate", path)
    assert "No product is right for 2 of them" in output
    assert "rightly empty" in output


def test_figures_are_left_out_if_no_query_has_a_right_product(shop, judged):
    path = judged(f"red mug,{shop['red mug']},0\n")
    assert figures(path)["settings"][0]["ndcg@10"] is None
    assert "default        –" in run("clip_evaluate", path, "--worst", "3")


def test_the_worst_answers_are_named_first(shop, judged):
    path = judged(f"red mug,{shop['red mug']},1\nvase,{shop['red mug']},1\nblue mug,{shop['blue mug']},1\n")
    output = run("clip_evaluate", path, "--worst", "2").splitlines()
    assert [line.split()[-1] for line in output[-2:]] == ["vase", "mug"]
    assert output[-2].split()[0] == "0.000"


@pytest.mark.parametrize(
    ("text", "error"), [("mug,1\n", "Line 2 has no grade."), ("mug,1,x\n", "Line 2: the grade is 'x'.")]
)
def test_mistakes_in_the_file_are_named_with_their_line(judged, text, error):
    assert error in complain("clip_evaluate", judged(text))


def test_other_mistakes_are_named(judged, tmp_path):
    assert "No such file" in complain("clip_evaluate", str(tmp_path / "missing.csv"))
    assert "There is no weight 'x'" in complain("clip_evaluate", judged("mug,1,1\n"), "--weights", "x=1")
