"""How one model becomes searchable content."""

from __future__ import annotations

import datetime
import random
import subprocess
import sys
from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.core.validators import validate_slug
from django.db.models import Manager, Prefetch

import clip_search
from clip_search import Bool, Date, Document, Keyword, Number, register
from clip_search.documents import paths
from clip_search.documents.binding import BoundDocument
from clip_search.documents.fields import FilterField
from clip_search.documents.registry import Registry, registry
from clip_search.documents.text import clean, normalise
from clip_search.documents.watching import declared_paths
from clip_search.exceptions import InvalidDeclaration
from clip_search.types import ImageSource
from tests.shops.oscarshop.models import Product as Ware
from tests.shops.shop.models import Article, Book, Category, Product, ProductImage, SaleProduct, Tag

NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def document() -> BoundDocument:
    return registry.get("product")


def declare(model=Product, **attributes) -> BoundDocument:
    """Declare a document, unregistered."""
    return BoundDocument(type("Declared", (Document,), attributes)(model))


# Filters.


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        (Keyword, "red", "red"),
        (Keyword, 7, "7"),
        (Number, 3, 3.0),
        (Number, Decimal("9.99"), 9.99),
        (Number, "12.5", 12.5),
        (Bool, True, True),
        (Bool, "TRUE", True),
        (Bool, "0", False),
        (Bool, 3, True),
        (Date, datetime.date(2024, 5, 1), "2024-05-01T00:00:00+00:00"),
        (Date, datetime.datetime(2024, 5, 1, 12), "2024-05-01T12:00:00+00:00"),
        (Date, NOON, "2024-05-01T12:00:00+00:00"),
        (Date, NOON.astimezone(datetime.timezone(datetime.timedelta(hours=2))), "2024-05-01T12:00:00+00:00"),
        (Date, "2024-05-01", "2024-05-01T00:00:00+00:00"),
        (Date, "2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00+00:00"),
    ],
)
def test_coerce(field, given, value):
    found = field("x").coerce(given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        (Number, "cheap"),
        (Number, True),
        (Number, "nan"),
        (Number, "-inf"),
        (Number, "1e999"),
        (Number, 10**400),
        (Number, [1]),
        (Bool, "perhaps"),
        (Bool, ""),
        (Date, "yesterday"),
        (Date, 20240501),
        (Date, "0001-01-01T00:00:00+05:00"),
    ],
)
def test_coerce_refuses(field, given):
    with pytest.raises(ValueError):
        field("x").coerce(given)


def test_a_filter_shows_its_path():
    assert repr(Keyword("category.slug")) == "Keyword('category.slug')"
    with pytest.raises(NotImplementedError):
        FilterField("x").coerce(1)


# Text.


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("<p>Red <b>mug</b></p>", "Red mug"),
        ("<p>Red</p><p>mug</p>", "Red mug"),
        ("Red<br>mug<br/>blue", "Red mug blue"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ("re<b>d</b>", "red"),
        ("salt &amp; pepper", "salt & pepper"),
        ("a&nbsp;b\n\n c\t d", "a b c d"),
        ("5 < 6 > 4", "5 < 6 > 4"),
        ("<pinned>x", "x"),
        (None, "None"),
        (12, "12"),
    ],
)
def test_clean(html, text):
    assert clean(html) == text


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("SKU-4711", "sku4711"),
        ("  sku _ 4711 ", "sku4711"),
        ("Crème brûlée", "cremebrulee"),
        ("CŒUR", "coeur"),
        ("Tromsø", "tromso"),
        ("ŁÓDŹ", "lodz"),
        ("İSTANBUL", "istanbul"),
        ("bardağı", "bardagi"),
        ("C++", "c++"),
        ("C#", "c#"),
        ("C", "c"),
        ("Galaxy S20+ (black)", "galaxys20+black"),
        ("C + #1 +", "c1"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ﬁne", "fine"),
        ("℡", "tel"),
        ("…", ""),
        ("", ""),
    ],
)
def test_normalise(text, bare):
    assert normalise(text) == bare


def test_normalise_is_idempotent():
    rng = random.Random(4)
    for _ in range(3000):
        text = "".join(chr(rng.choice([rng.randrange(32, 0x2200), rng.randrange(0xE000)])) for _ in range(5))
        assert normalise(normalise(text)) == normalise(text), ascii(text)


def test_text_in_declared_order_without_what_is_empty():
    mug = Product(name="Red <i>mug</i>", description="", sku="M-1")
    assert declare(text_fields=("sku", "description", "name")).declaration.get_text(mug) == "M-1. Red mug"


# Content.


@pytest.mark.django_db
def test_content(document, picture):
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(
        name="Mug", sku="M-1", description="<b>Red</b>", category=kitchen, price="9.50", released="2024-05-01"
    )
    mug.tags.create(name="new")
    ProductImage.objects.create(product=mug, original=picture(name="late.png"), position=2)
    ProductImage.objects.create(product=mug, original=picture(name="first.png"), position=1)
    content = document.content(Product.objects.get())
    assert (content.product_id, content.text) == (str(mug.pk), "Mug. Red")
    assert content.exact == ("m1", "mug")
    assert content.payload == {
        "category": "kitchen",
        "tag": ["new"],
        "price": 9.5,
        "in_stock": True,
        "released": "2024-05-01T00:00:00+00:00",
    }
    assert [image.name for image in content.images] == ["products/first.png"]


@pytest.mark.django_db
def test_payload_of_what_is_missing(document):
    payload = document.declaration.get_payload(Product.objects.create(name="Mug", sku="M-1"))
    assert payload == {"price": 0.0, "in_stock": True}


def test_a_list_at_the_end_of_a_path_is_a_list_in_the_payload():
    declaration = declare(filter_fields={"colour": Keyword("colours")}).declaration
    mug = Product()
    mug.colours = ["red", "blue"]
    assert declaration.get_payload(mug) == {"colour": ["red", "blue"]}
    mug.colours = []
    assert declaration.get_payload(mug) == {}


def test_a_value_that_does_not_fit_its_filter_names_path_and_value():
    payload = declare(filter_fields={"price": Number("name")}).declaration.get_payload(Product(name="Mug"))
    assert repr(payload["price"]) == "InvalidValue(\"name: could not convert string to float: 'Mug'\")"


def test_exact_words_once_and_without_what_is_empty():
    document = declare(exact_fields=("sku", "name", "description"))
    content = document.content(Product(pk=1, name="M 1", sku="m-1", description="--"))
    assert content.exact == ("m1",)


@pytest.mark.django_db
@pytest.mark.parametrize(("allowed", "found"), [(1, 1), (2, 2), (5, 3)])
def test_max_images(picture, allowed, found):
    mug = Product.objects.create(name="Mug")
    for position in range(3):
        ProductImage.objects.create(product=mug, original=picture(), position=position)
    document = declare(image_field="images.original", max_images=allowed)
    assert len(document.content(mug).images) == found


@pytest.mark.django_db
def test_image_fields_without_a_file_are_skipped(picture):
    mug = Product.objects.create(name="Mug")
    ProductImage.objects.create(product=mug, original="")
    ProductImage.objects.create(product=mug, original=picture(name="mug.png"), position=1)
    content = declare(image_field="images.original").content(mug)
    assert [image.name for image in content.images] == ["products/mug.png"]


def test_get_images_may_give_images_that_are_no_files():
    source = ImageSource(name="x", signature="x:1", open=lambda: ContentFile(b""))
    document = declare(max_images=2, get_images=lambda self, obj: iter([source, source, source]))
    assert document.content(Product(pk=1)).images == (source, source)


@pytest.mark.django_db
@pytest.mark.parametrize("products", [1, 7])
def test_the_number_of_queries_is_the_same_for_any_number_of_products(
    document, picture, django_assert_num_queries, products
):
    for number in range(products):
        category = Category.objects.create(name=str(number), slug=str(number))
        mug = Product.objects.create(name=f"Mug {number}", category=category)
        mug.tags.create(name="new")
        ProductImage.objects.create(product=mug, original=picture())
    ids = document.product_ids(Product.objects.all())
    with django_assert_num_queries(4):
        rows = document.find(document.rows(), ids)
        assert len([document.content(row) for row in rows.values()]) == products


@pytest.fixture
def tagged(db) -> Product:
    """A product with two tags."""
    mug = Product.objects.create(name="Mug")
    mug.tags.create(name="blue")
    mug.tags.create(name="secret")
    return mug


def test_rows_that_only_paths_read_list_their_relations(tagged, django_assert_num_queries):
    document = declare(filter_fields={"tag": Keyword("tags.name")})
    (row,) = document.rows()
    with django_assert_num_queries(0):
        assert document.content(row).payload == {"tag": ["blue", "secret"]}
    with django_assert_num_queries(1):
        assert row.tags.count() == 2  # nothing was prefetched for anybody else


@pytest.mark.parametrize(
    "declaration",
    [
        {"get_text": lambda self, obj: ", ".join(tag.name for tag in obj.tags.all())},
        {"product_id": lambda self, obj: ", ".join(tag.name for tag in obj.tags.all())},
        {"exact_fields": ["labels"]},
    ],
)
def test_what_the_host_s_methods_read_is_prefetched_for_them(
    tagged, monkeypatch, declaration, django_assert_num_queries
):
    labels = property(lambda product: [tag.name for tag in product.tags.all()])
    monkeypatch.setattr(Product, "labels", labels, raising=False)
    document = declare(filter_fields={"tag": Keyword("tags.name")}, **declaration)
    (row,) = document.rows()
    with django_assert_num_queries(0):
        content = document.content(row)
    assert content.payload == {"tag": ["blue", "secret"]}
    assert "secret" in {content.text.split(", ")[-1], content.product_id.split(", ")[-1], *content.exact}


def test_what_a_prefetch_of_the_host_leaves_out_is_not_indexed(tagged):
    open_tags = Prefetch("tags", Tag.objects.exclude(name="secret"))
    document = declare(
        filter_fields={"tag": Keyword("tags.name")},
        get_queryset=lambda self: Product.objects.prefetch_related(open_tags),
    )
    (row,) = document.rows()
    assert document.content(row).payload == {"tag": ["blue"]}


# Signatures of images.


class RemoteStorage(Storage):
    """A storage without local paths: to ask it anything is a request."""

    def __init__(self):
        self.files, self.requests = {}, []

    def _save(self, name, content):
        self.files[name] = content.read()
        return name

    def _open(self, name, mode="rb"):
        self.requests.append("open")
        return ContentFile(self.files[name])

    def exists(self, name):
        self.requests.append("exists")
        return False

    def size(self, name):
        self.requests.append("size")
        return 1

    def get_modified_time(self, name):
        self.requests.append("modified")
        return NOON


@pytest.fixture
def remote(monkeypatch) -> RemoteStorage:
    storage = RemoteStorage()
    monkeypatch.setattr(ProductImage._meta.get_field("original"), "storage", storage)
    return storage


@pytest.mark.django_db
def test_a_remote_storage_is_asked_nothing_before_an_image_is_opened(document, remote):
    mug = Product.objects.create(name="Mug")
    remote.files["products/mug.png"] = b"bytes"
    ProductImage.objects.create(product=mug, original="products/mug.png")
    (source,) = document.content(mug).images
    assert (source.signature, source.local, remote.requests) == ("products/mug.png", False, [])
    with source.open() as file:
        assert file.read() == b"bytes"
    assert remote.requests == ["open"]


@pytest.mark.django_db
def test_a_local_signature_changes_with_the_file(document, picture, media):
    image = ProductImage(original=picture("red", name="mug.png"))
    image.original.save("mug.png", picture("red"), save=False)
    before = document.declaration.image_signature(image.original)
    assert document.declaration.image_signature(image.original) == before
    (media / image.original.name).write_bytes(b"other")
    assert document.declaration.image_signature(image.original) != before
    assert before.startswith(image.original.name)


def test_the_signature_of_a_missing_file(document):
    assert (
        document.declaration.image_signature(ProductImage(original="gone.png").original) == "gone.png:missing"
    )


# Ids.


@pytest.mark.django_db
def test_find_gives_the_rows_that_qualify_now(document):
    shown = Product.objects.create(name="Mug")
    hidden = Product.objects.create(name="Cup", is_public=False)
    ids = [str(shown.pk), str(hidden.pk), "999"]
    assert document.find(document.rows(), ids) == {str(shown.pk): shown}
    assert document.qualifying(ids) == {str(shown.pk)}


ODD = [
    "test-123",
    "",
    " 1",
    "1.0",
    "1_0",
    "٣",
    "-1",
    str(2**63),
    str(10**30),
    "9" * 5000,
    "\x00",
    "None",
    "é" * 255,
]


@pytest.mark.django_db
@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_find_of_ids_that_the_model_cannot_have(document, odd):
    for key in (1, 3, 10):
        Product.objects.create(pk=key, name="Mug")
    assert document.find(document.rows(), [odd]) == {}
    assert document.qualifying([odd]) == set()
    assert set(document.find(document.rows(), [odd, "1"])) == {"1"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("id_field", "ids", "expected"),
    [
        ("pk", ["5", "test-123", "", "1.5", "9" * 30, "-" + "9" * 30], [5]),
        ("views", ["0", "-1", "9" * 30], [0]),
        ("price", ["1.50", "1e500", "NaN", "x"], [Decimal("1.50"), Decimal("1e500")]),
        ("sku", ["A B/1", "", "x" * 200], ["A B/1", "", "x" * 200]),
    ],
)
def test_ids_are_keys_wherever_a_database_can_be_asked_for_them(monkeypatch, id_field, ids, expected):
    monkeypatch.setattr(Product._meta.get_field("sku"), "validators", [validate_slug])
    document = declare(id_field=id_field)
    assert document.keys_of(ids) == expected
    assert document.find(document.rows(), ids) == {}


@pytest.mark.django_db
def test_another_id_field():
    document = declare(id_field="sku")
    mug = Product.objects.create(name="Mug", sku="M-1")
    assert document.declaration.product_id(mug) == "M-1"
    assert document.find(document.rows(), ["M-1", "m-1", "M-2", "x" * 300]) == {"M-1": mug}
    assert document.qualifying(["M-1", "m-1"]) == {"M-1"}
    assert document.product_ids(Product.objects.all()) == ["M-1"]
    assert "sku" in document.watched_columns


@pytest.mark.django_db
def test_the_id_of_a_subclass_is_that_of_its_parent():
    book = Book.objects.create(name="Emma")
    document = declare(Book)
    assert document.find(document.rows(), [str(book.pk)]) == {str(book.pk): book}
    assert document.product_ids([book]) == document.product_ids(Book.objects.all()) == [str(book.pk)]


def test_points_of_two_documents_do_not_meet():
    assert declare(name="one").point_id("1") != declare(name="two").point_id("1")
    assert declare(name="one").point_id("1") == declare(name="one").point_id("1")


@pytest.mark.django_db
def test_should_index():
    document = declare(should_index=lambda self, obj: obj.price > 0)
    free, sold = Product.objects.create(name="a"), Product.objects.create(name="b", price=1)
    ids = [str(free.pk), str(sold.pk)]
    assert document.find(document.rows(), ids) == {str(sold.pk): sold}
    assert document.qualifying(ids) == {str(sold.pk)}


@pytest.mark.django_db
def test_index_as():
    document = declare(Ware, index_as=lambda self, obj: obj.parent or obj)
    parent = Ware.objects.create(upc="shirt")
    children = [Ware.objects.create(upc=size, parent=parent) for size in "SM"]
    assert document.product_ids(children) == document.product_ids(Ware.objects.all()) == [str(parent.pk)]
    assert document.qualifies(parent)
    assert not document.qualifies(children[0])
    assert document.find(document.rows(), [str(row.pk) for row in (parent, *children)]) == {
        str(parent.pk): parent
    }


def test_index_as_none_has_no_point():
    document = declare(index_as=lambda self, obj: None)
    assert document.product_ids([Product(pk=1)]) == []
    assert not document.qualifies(Product(pk=1))


# What the index depends on.


def test_declared_columns_are_watched():
    document = declare(text_fields=["name"], filter_fields={"category": Keyword("category.slug")})
    assert document.watched_columns == {"name", "category", "category_id"}
    assert declare(text_fields=["name"], id_field="sku").watched_columns == {"name", "sku"}
    assert declare(text_fields=["name", "images.original"]).watched_columns == {"name"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"get_queryset": lambda self: Product.objects.filter(is_public=True)},
        {"get_text": lambda self, obj: ""},
        {"product_id": lambda self, obj: ""},
        {"exact_fields": ["get_anything"]},
    ],
)
def test_any_column_counts_if_a_method_of_the_host_may_read_it(attributes):
    assert declare(text_fields=["name"], **attributes).watched_columns is None


@pytest.mark.parametrize(
    ("reads", "columns"),
    [
        ([], {"name"}),
        (["is_public"], {"name", "is_public"}),
        (["category.slug", "images.original"], {"name", "category", "category_id"}),
    ],
)
def test_reads_says_what_the_methods_of_the_host_read(reads, columns):
    methods = {"get_queryset": lambda self: Product.objects.filter(is_public=True), "exact_fields": ["code"]}
    document = declare(text_fields=["name"], reads=reads, **methods)
    assert document.watched_columns == columns
    assert document.depends_on("images") is ("images.original" in reads)


def test_a_relation_that_only_the_queryset_reads_counts():
    document = declare(text_fields=["name"], get_queryset=lambda self: Product.objects.filter(tags__name="x"))
    assert document.depends_on("tags")
    assert not declare(text_fields=["name"]).depends_on("tags")
    assert declare(filter_fields={"tag": Keyword("tags.name")}).depends_on("tags")


def test_declared_paths_and_their_prefetches(document):
    declared = list(declared_paths(document.declaration))
    assert ("image_field", "images.original") in declared
    assert ("filter_fields", "tags.name") in declared
    assert len(declared) == 11
    assert not any(paths.mistake(document.model, path) for _, path in declared)


class Replica:
    """A router that has everything read from a replica, where nothing has arrived yet."""

    def db_for_read(self, model, **hints):
        return "other"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, *args, **hints):
        return True


@pytest.fixture
def replicated(settings):
    settings.DATABASE_ROUTERS = [Replica()]


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("methods", [False, True])
def test_relations_too_are_read_from_the_write_database(settings, methods):
    """A replica that lags would have a product indexed without its picture, and nobody would notice."""
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    mug = Product.objects.create(name="Mug", sku="M-1", category=kitchen)
    ProductImage.objects.create(product=mug, original="mug.png")
    mug.tags.create(name="red")
    own = {"get_text": lambda self, obj: f"{obj.category.name} {obj.tags.all()[0]}"} if methods else {}
    document = declare(
        text_fields=["category.name", "tags.name"],
        image_field="images.original",
        filter_fields={"category": Keyword("category.slug")},
        **own,
    )
    settings.DATABASE_ROUTERS = [Replica()]
    content = document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)])
    assert content.text.split(" " if methods else ". ") == ["Kitchen", "red"]
    assert [image.name for image in content.images] == ["mug.png"]
    assert content.payload == {"category": "kitchen"}


class Legacy(Replica):
    """A router that has categories in a database of their own."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return db == "other" if model_name == "category" else None


@pytest.mark.django_db(databases=["default", "other"])
def test_a_relation_into_another_database_is_read_from_there(settings):
    category = Category.objects.create(name="nothing to a router", slug="")
    Category.objects.using("other").create(pk=category.pk, name="Kitchen", slug="kitchen")
    mug = Product.objects.create(name="Mug", sku="M-1", category=category)
    settings.DATABASE_ROUTERS = [Legacy()]
    document = declare(text_fields=["category.name"])
    assert document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)]).text == "Kitchen"


class Picky:
    """Tags of another library: they refuse to be prefetched with a queryset."""

    def __init__(self, tags):
        self.tags = tags

    def __get__(self, instance, owner):
        if instance is None:
            return self
        manager = self.tags.__get__(instance, owner)
        prefetched = manager.get_prefetch_querysets

        def get_prefetch_querysets(instances, querysets=None):
            assert querysets is None
            return prefetched(instances)

        manager.get_prefetch_querysets = get_prefetch_querysets
        return manager


@pytest.mark.django_db
@pytest.mark.parametrize("lists", [True, False])
def test_a_relation_that_takes_no_queryset_is_prefetched_as_it_is(replicated, monkeypatch, lists):
    mug = Product.objects.create(name="Mug", sku="M-1")
    mug.tags.create(name="red")
    monkeypatch.setattr(Product, "tags", Picky(vars(Product)["tags"]))
    own = {} if lists else {"get_text": lambda self, obj: obj.tags.all()[0].name}
    document = declare(text_fields=["tags.name"], using="default", **own)
    assert next(iter(paths.prefetches(Product, "tags.name", "default", lists=lists))).queryset is None
    monkeypatch.setattr(Replica, "db_for_read", lambda self, model, **hints: "default")
    assert document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)]).text == "red"


@pytest.mark.django_db
@pytest.mark.parametrize("lists", [True, False])
def test_a_relation_whose_manager_prefetches_itself_is_prefetched_as_it_is(replicated, monkeypatch, lists):
    class WithProducts(Manager):
        def get_queryset(self):
            return super().get_queryset().prefetch_related("products")

    manager = WithProducts()
    manager.model = Tag
    mug = Product.objects.create(name="Mug", sku="M-1")
    mug.tags.create(name="red")
    monkeypatch.setitem(vars(Tag._meta), "default_manager", manager)
    monkeypatch.delitem(vars(Product.tags), "related_manager_cls", raising=False)
    try:
        own = {} if lists else {"get_text": lambda self, obj: obj.tags.all()[0].products.all()[0].name}
        monkeypatch.setattr(Replica, "db_for_read", lambda self, model, **hints: "default")
        document = declare(text_fields=["tags.products.name"], **own)
        assert document.content(document.find(document.rows(), [str(mug.pk)])[str(mug.pk)]).text == "Mug"
    finally:
        vars(Product.tags).pop("related_manager_cls", None)


# The registry.


def test_two_documents_of_one_name_are_refused():
    found = Registry()
    found.add(declare(name="one"))
    with pytest.raises(InvalidDeclaration, match=r"'one'.*another `name`"):
        found.add(declare(Article, name="one"))
    assert len(found) == 1


def test_one_model_may_have_two_documents():
    found = Registry()
    found.add(declare(name="one"))
    found.add(declare(name="two"))
    assert [d.name for d in found] == ["one", "two"]


def test_register_names_the_document_after_its_model():
    class Unnamed(Document):
        pass

    assert register(Category)(Unnamed) is Unnamed
    try:
        assert registry.get("category") is registry.of_class(Unnamed)
        assert repr(registry.of_class(Unnamed)) == "<Unnamed 'category' of shop.Category>"
    finally:
        registry.remove(registry.of_class(Unnamed))
    assert registry.get("category") is None


def test_an_unregistered_document_says_what_to_do():
    with pytest.raises(InvalidDeclaration, match="@register"):
        registry.of_class(type("Stray", (Document,), {}))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Product, ["product"]),
        (SaleProduct, ["product"]),
        (Book, ["product"]),
        (Category, []),
        (Article, ["article"]),
    ],
)
def test_documents_of_a_model(model, names):
    assert [document.name for document in registry.of_model(model)] == names


def test_a_document_of_a_proxy_is_one_of_its_model():
    found = Registry()
    found.add(declare(SaleProduct))
    assert [d.name for d in found.of_model(Product)] == ["saleproduct"]


def test_using_names_the_database():
    assert registry.get("article").rows().db == "other"
    assert registry.get("product").rows().db == "default"


# The public names.


def test_public_names():
    assert clip_search.Document is Document
    assert {name: getattr(clip_search, name).__name__ for name in clip_search.__all__} == {
        name: name for name in clip_search.__all__
    }


def test_an_unknown_public_name():
    with pytest.raises(AttributeError, match="nonsense"):
        clip_search.nonsense  # noqa: B018


def test_importing_the_package_imports_no_django():
    code = "import sys, clip_search; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
