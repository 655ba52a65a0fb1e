"""Whatever a newcomer writes above or below `register()` is a numbered check, and the shop starts."""

from __future__ import annotations

import textwrap

import pytest
from django.db import models
from django.test.utils import isolate_apps

from clip_search import Document, checks, receivers, register
from clip_search.checks.documents import check_document, check_types
from clip_search.documents.registry import registry
from clip_search.exceptions import InvalidDeclaration
from tests.shops.shop.models import Product
from tests.unit.documents.declarations import declare

with isolate_apps("tests.shops.shop"):  # so that no migration misses them

    class AbstractProduct(models.Model):
        class Meta:
            abstract = True
            app_label = "shop"

    class SwappedProduct(models.Model):
        class Meta:
            app_label = "shop"
            swappable = "TESTS_SWAPPED_MODEL"

        def __str__(self) -> str:
            return ""


def shop_document(base: type = Document, **attributes: object) -> type:
    return type("ShopDocument", (base,), {"name": "mistaken", "text_fields": ["name"]} | attributes)


MISTAKES = {
    "no parentheses": (lambda: register(shop_document()), r"ShopDocument.*@register\(Product\)"),
    "no (Document)": (lambda: register(Product)(shop_document(object)), r"`class ShopDocument\(Document\):`"),
    "a function": (lambda: register(Product)(lambda row: row), "is no Document"),
    "an instance": (lambda: register(Product)(shop_document()(Product)), "is no Document"),
    "a label": (lambda: register("shop.Product")(shop_document()), "'shop.Product', which is no model"),
    "None": (lambda: register(None)(shop_document()), "None, which is no model"),
    "a row": (lambda: register(Product())(shop_document()), "which is no model"),
    "a list": (lambda: register([Product])(shop_document()), "which is no model"),
    "abstract": (lambda: register(AbstractProduct)(shop_document()), "AbstractProduct is abstract"),
    "swapped": (lambda: register(SwappedProduct)(shop_document()), "SwappedProduct is swapped for auth.User"),
    "a name that is no text": (lambda: register(Product)(shop_document(name=[5])), r"name is \[5\]"),
    "a name that is taken": (lambda: register(Product)(shop_document(name="product")), "'product'"),
    "misspelt": (lambda: register(Product)(shop_document(text_field=["sku"])), "Did you mean 'text_fields'"),
}


@pytest.fixture(autouse=True)
def swapped(settings):
    settings.TESTS_SWAPPED_MODEL = "auth.User"


@pytest.mark.parametrize(("mistake", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_a_check_while_django_starts_and_else_an_error(mistake, sentence, caplog):
    before = list(registry)
    with pytest.raises(InvalidDeclaration, match=sentence):
        mistake()
    try:
        with registry.discovering():
            mistake()
        (found,) = [message for message in checks.check_documents() if message.id == "clip_search.E019"]
    finally:
        registry.mistakes.clear()
    assert list(registry) == before
    assert found.msg in caplog.text
    assert not any(record.exc_info for record in caplog.records)
    with pytest.raises(InvalidDeclaration, match=sentence):
        mistake()


PLAIN = [None, 5, "", "x", b"x", [], [5], {}, {5: 5}, {"text": "x"}, object(), object, Product, len]


@pytest.mark.parametrize(
    "attribute",
    [
        *("name", "using", "language", "id_field", "text_fields", "image_field", "exact_fields", "reads"),
        *("filter_fields", "related", "weights", "query_prompt", "max_images"),
    ],
)
def test_any_value_of_any_attribute_is_checked_without_a_traceback(attribute):
    for value in PLAIN:
        try:
            document = declare(**{attribute: value})
            found = check_document(document)
            if isinstance(document.name, str) and not any(check_types(document)):
                receivers.connect(document)  # as when Django starts
                receivers.disconnect(document)
        except Exception as error:
            raise AssertionError(f"{attribute} = {value!r}") from error
        assert all(message.hint for message in found)


def test_a_shop_with_mistakes_starts(start_process, tmp_path):
    app = tmp_path / "mistaken"
    app.mkdir()
    (app / "__init__.py").write_text("")
    (app / "clip_documents.py").write_text(
        textwrap.dedent(
            """
            from clip_search import Document, register
            from tests.shops.shop.models import Category, Product

            @register(Product)
            class ProductDocument:
                text_fields = ["name"]

            @register(Product)
            class ListDocument(Document):
                name = "list"
                filter_fields = ["price"]

            @register
            class OtherDocument(Document):
                text_fields = ["name"]

            @register(Category)
            class CategoryDocument(Document):
                text_fields = ["name"]
            """
        )
    )
    code = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from django.conf import settings
        settings.INSTALLED_APPS += ["mistaken"]
        from django.core.management import execute_from_command_line
        execute_from_command_line(["manage.py", *sys.argv[1:]])
        """
    )
    process = start_process("-c", code, "check", CLIP_SEARCH_TEST_DATA=str(tmp_path))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.count("(clip_search.E019)") == 2
    assert output.count("(clip_search.E111)") == 1
    assert "Traceback" not in output
    asked = "from clip_search.documents.registry import registry as r; print(sorted(d.name for d in r))"
    process = start_process(
        "-c", code, "shell", "--no-imports", "-c", asked, CLIP_SEARCH_TEST_DATA=str(tmp_path)
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "'article'" in output.splitlines()[-1]
    assert "'category'" in output.splitlines()[-1]
