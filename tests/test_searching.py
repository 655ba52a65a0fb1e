"""Searching from Python: pages, exact words, filters, rows that are gone, and honest failures."""

from __future__ import annotations

import datetime
import operator
import random
from decimal import Decimal

import numpy as np
import pytest
from django.core.paginator import Paginator
from django.test.utils import CaptureQueriesContext
from PIL import Image

from clip_search import SearchUnavailable, jobs
from clip_search.documents import registry
from clip_search.encoder import get_encoder
from clip_search.exceptions import BadImage, SearchTooDeep, StoreUnavailable, UnknownFilter
from clip_search.models import Collection, IndexEntry, PostedProduct
from clip_search.searching import DEPTH, warm_up
from clip_search.stores import get_store
from clip_search.stores.embedded import EmbeddedStore
from clip_search.stores.memory import MemoryStore
from clip_search.types import POSTED_SOURCE
from tests.conftest import picture_bytes
from tests.shop.clip_documents import ProductDocument
from tests.shop.models import Category, Product, ProductImage, Tag

pytestmark = pytest.mark.django_db(transaction=True)
DOCUMENT = registry.get("product")


def index_all(products) -> None:
    ProductDocument.reindex(products)


def make(count: int, **fields) -> list[Product]:
    """Make products as an import does, and index them."""
    made = Product.objects.bulk_create(
        Product(**{"name": f"Chair number {n}", "sku": f"C-{n}", **fields}) for n in range(count)
    )
    index_all(made)
    return made


@pytest.fixture
def mug() -> Product:
    product = Product.objects.create(name="Red mug", sku="MUG-01", price=10)
    ProductImage.objects.create(product=product, original=picture_file("red"))
    return product


@pytest.fixture
def hat() -> Product:
    return Product.objects.create(name="Blue hat", sku="HAT-01", price=30)


def picture_file(colour: str):
    from django.core.files.base import ContentFile

    return ContentFile(picture_bytes(colour), name=f"{colour}.png")


# Results.


def test_iterating_gives_rows_in_rank_order_with_their_scores(mug, hat):
    first, second = ProductDocument.search("red")
    assert (first, second) == (mug, hat)
    assert first.search_score > second.search_score


def test_a_page_takes_two_queries(mug, hat, django_assert_max_num_queries):
    with django_assert_max_num_queries(2):
        assert list(ProductDocument.search("red mug")[:10]) == [mug, hat]


def test_hits_touch_no_rows(mug):
    with CaptureQueriesContext(__import__("django.db").db.connection) as queries:
        (hit,) = ProductDocument.search("red").hits()
    assert not [q for q in queries.captured_queries if "shop_product" in q["sql"]]
    assert (hit.product_id, hit.instance, hit.payload["price"]) == (str(mug.pk), None, 10.0)
    (hit,) = ProductDocument.search("red").hits(with_rows=True)
    assert hit.instance == mug


def test_nothing_is_asked_before_the_results_are_used(settings):
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "nowhere.at.all"}
    results = ProductDocument.search("red")[3:7]
    assert "from 3 to 7" in repr(results)
    with pytest.raises(SearchUnavailable):
        list(results)


def test_every_product_is_on_one_page_and_the_bounds_reach_the_engine(monkeypatch):
    products = make(1000)
    asked = []
    query = MemoryStore.query
    monkeypatch.setattr(
        MemoryStore, "query", lambda self, name, q: asked.append((q.offset, q.limit)) or query(self, name, q)
    )
    pager = Paginator(ProductDocument.search("chair"), 24)
    assert pager.count == 1000
    shown = [product.pk for page in pager for product in page]
    assert sorted(shown) == sorted(product.pk for product in products)
    assert (24, 24) in asked and max(limit for _, limit in asked) == 24


def test_slices_of_slices_single_results_and_truth(mug, hat):
    results = ProductDocument.search("red")
    assert list(results[0:2][1:2]) == [hat]
    assert results[1] == hat
    assert (len(results), bool(results), bool(results[2:])) == (2, True, False)
    with pytest.raises(IndexError):
        results[2]
    for wrong in (-1, slice(-2, None), slice(0, 4, 2)):
        with pytest.raises(ValueError, match=r"Negative|forwards"):
            results[wrong]


def test_deeper_than_the_results_reach_is_said(mug):
    with pytest.raises(SearchTooDeep, match=str(DEPTH)):
        ProductDocument.search("red")[DEPTH : DEPTH + 24]
    with pytest.raises(SearchTooDeep):
        ProductDocument.search("red")[: DEPTH + 1]


def test_no_words_find_everything_that_meets_the_filters(mug, hat):
    assert set(ProductDocument.search("  ")) == {mug, hat}
    assert list(ProductDocument.search("", filters={"price__gt": 20})) == [hat]


# Exact words.


@pytest.mark.parametrize("typed", ["MUG-01", "mug 01", "  Mug-01 ", "TÄSSE, élégante", "tasse  elegante"])
def test_what_is_called_exactly_so_comes_first(typed):
    make(30, description="mug 01 tasse elegante " * 3)
    wanted = Product.objects.create(name="Tässe élégante", sku="MUG-01", description="x")
    assert ProductDocument.search(typed)[0] == wanted
    pages = [p.pk for start in range(0, 31, 5) for p in ProductDocument.search(typed)[start : start + 5]]
    assert len(pages) == len(set(pages)) == 31


# Photos and neighbours.


@pytest.mark.parametrize("form", ["file", "bytes", "pillow"])
def test_a_photo_finds_what_looks_like_it(mug, hat, form):
    blue = Product.objects.create(name="Nameless", sku="N")
    ProductImage.objects.create(product=blue, original=picture_file("blue"))
    data = picture_bytes("blue", fmt="JPEG")
    photo = {"file": picture_file("blue"), "bytes": data, "pillow": Image.new("RGB", (20, 20), "blue")}[form]
    found = ProductDocument.search_by_image(photo)
    assert found[0] == blue
    assert found.count() == 2  # the hat has no image
    assert [p.name for p in ProductDocument.search_by_image(photo, min_score=0.9)] == ["Nameless"]


def test_a_photo_that_is_none_is_refused_at_once():
    with pytest.raises(BadImage):
        ProductDocument.search_by_image(b"no image")
    with pytest.raises(TypeError, match="Give a file"):
        ProductDocument.search_by_image("/etc/passwd")


def test_similar_products_are_found_without_a_model_and_never_the_product_itself(mug, hat, monkeypatch):
    monkeypatch.setattr(type(get_encoder()), "embed_texts", None)
    assert list(ProductDocument.similar_to(mug)) == [hat]
    assert list(ProductDocument.similar_to(str(mug.pk))) == [hat]
    assert ProductDocument.similar_to(mug).count() == 1
    assert list(ProductDocument.similar_to("unknown")) == list(ProductDocument.similar_to(Product())) == []
    with pytest.raises(TypeError):
        ProductDocument.similar_to(Tag())


@pytest.mark.parametrize(
    "weights", [{"taste": 1}, {"text": -1}, {"text": 0, "image": 0}, {"text": float("nan")}]
)
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="weight"):
        ProductDocument.search("red", weights=weights)


def test_a_weight_of_nothing_leaves_a_vector_out(mug, hat):
    assert list(ProductDocument.search("red", weights={"text": 0})) == [mug]


def test_a_score_that_is_none():
    with pytest.raises(ValueError, match="min_score"):
        ProductDocument.similar_to("1", min_score=float("nan"))


# Filters and facets.


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"colour": "red"}, "category, in_stock, price, released, tag"),
        ({"category__gt": "a"}, "exact, in, isnull"),
        ({"price__lte": "cheap"}, "price__lte"),
        ({"price": None}, "isnull"),
        ({"category": ["a"]}, "lookup in"),
        ({"category__in": "a"}, "list"),
        ({"released__gt": "9999-12-31T23:59:59-23:59"}, "released__gt"),
        ({"category": Tag()}, "not the object"),
    ],
)
def test_a_filter_that_cannot_be_says_what_can(filters, said):
    with pytest.raises(UnknownFilter, match=said):
        ProductDocument.search("x", filters=filters)


def test_facets_count_under_the_filters():
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    make(3, category=kitchen, price=5)
    make(2, price=50)
    assert ProductDocument.search("chair").facet("category") == {"kitchen": 3}
    assert ProductDocument.search("chair", filters={"price__gt": 20}).facet("category") == {}
    with pytest.raises(UnknownFilter, match="category, tag"):
        ProductDocument.search("chair").facet("price")


LOOKUPS = {
    "": operator.eq,
    "__gt": operator.gt,
    "__gte": operator.ge,
    "__lt": operator.lt,
    "__lte": operator.le,
}


def brute_force(product: Product, name: str, value) -> bool:
    """Say whether a row meets a filter, by the rows alone."""
    key, _, lookup = name.partition("__")
    slug = product.category.slug if product.category else None
    has = {
        "category": slug,
        "price": product.price,
        "in_stock": product.in_stock,
        "released": product.released,
    }[key]
    if lookup == "isnull":
        return (has is None) == value
    if lookup == "in":
        return has in value
    return has is not None and LOOKUPS[f"__{lookup}" if lookup else ""](has, value)


def random_filters(rng: random.Random) -> dict[str, object]:
    choices = {
        "category": lambda: rng.choice(["kitchen", "garden", "nowhere"]),
        "category__in": lambda: rng.sample(["kitchen", "garden", "hall"], 2),
        "category__isnull": lambda: rng.random() < 0.5,
        "in_stock": lambda: rng.random() < 0.5,
        "released__isnull": lambda: rng.random() < 0.5,
        **{f"price{lookup}": lambda: Decimal(rng.randrange(0, 12)) for lookup in LOOKUPS},
        **{
            f"released{lookup}": lambda: datetime.date(2026, 1, rng.randrange(1, 10))
            for lookup in ("", "__gt", "__lte")
        },
    }
    return {name: choices[name]() for name in rng.sample(sorted(choices), rng.randrange(1, 4))}


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")  # in the client's own mode
@pytest.mark.parametrize("qdrant", ["memory", "embedded", "client"])
def test_filters_find_what_the_database_does(settings, tmp_path, qdrant):
    where = {
        "memory": {"backend": "clip_search.testing.MemoryStore"},
        "embedded": {"path": str(tmp_path / "qdrant")},
        "client": {"backend": "clip_search.stores.server.ServerStore", "location": ":memory:"},
    }[qdrant]
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QDRANT": where}
    rng = random.Random(qdrant)
    categories = [*(Category.objects.create(name=s, slug=s) for s in ("kitchen", "garden", "hall")), None]
    products = Product.objects.bulk_create(
        Product(
            name=f"Thing {n}",
            sku=str(n),
            category=rng.choice(categories),
            price=rng.randrange(12),
            in_stock=rng.random() < 0.5,
            released=rng.choice([None, datetime.date(2026, 1, rng.randrange(1, 10))]),
        )
        for n in range(60)
    )
    index_all(products)
    store, name = get_store(), Collection.objects.of(DOCUMENT).get().name
    with store.held(name):
        for _ in range(170):
            filters = random_filters(rng)
            expected = {str(p.pk) for p in products if all(brute_force(p, *f) for f in filters.items())}
            found = ProductDocument.search("thing", filters=filters)
            assert {hit.product_id for hit in found.hits()} == expected, filters
            assert found.count() == len(expected)
    assert isinstance(store, EmbeddedStore) == (qdrant == "embedded")


# Rows that are gone, and products without rows.


def test_a_hit_whose_row_is_gone_is_replaced_and_raised_for_removal():
    products = make(10)
    Product.objects.filter(pk__in=[p.pk for p in products[:4]])._raw_delete("default")
    shown = list(ProductDocument.search("chair")[:6])
    assert {p.pk for p in shown} == {p.pk for p in products[4:]}
    waiting = IndexEntry.objects.filter(state=IndexEntry.State.PENDING)
    assert waiting.count() == 4


def test_a_posted_product_without_a_row_is_a_hit_without_an_instance(mug):
    PostedProduct.objects.keep(DOCUMENT, "posted-1", {"name": "Red teapot"})
    jobs.request(DOCUMENT, ["posted-1"], source=POSTED_SOURCE)
    results = ProductDocument.search("red")
    assert {hit.product_id for hit in results.hits()} == {str(mug.pk), "posted-1"}
    assert list(results) == [mug]
    assert IndexEntry.objects.get(product_id="posted-1").state == IndexEntry.State.INDEXED


# When it cannot answer.


@pytest.mark.parametrize(
    "use",
    [list, len, bool, lambda r: r.hits(), lambda r: r.count(), lambda r: r.facet("category"), lambda r: r[0]],
)
def test_a_store_that_is_down_is_said_however_the_results_are_used(mug, monkeypatch, use):
    def down(*args, **kwargs):
        raise StoreUnavailable

    for method in ("query", "count", "facet"):
        monkeypatch.setattr(MemoryStore, method, down)
    with pytest.raises(SearchUnavailable, match="Check that it runs"):
        use(ProductDocument.search("red"))


def test_a_collection_of_another_model_is_never_searched(mug):
    Collection.objects.update(fingerprint="another")
    with pytest.raises(SearchUnavailable, match="clip_rebuild"):
        list(ProductDocument.search("red"))


def test_nothing_indexed_yet_is_not_the_same_as_nothing_found():
    with pytest.raises(SearchUnavailable, match="clip_reindex"):
        list(ProductDocument.search("red"))


# The cost of a query.


def test_the_vector_of_a_query_is_kept_in_the_cache(mug, monkeypatch):
    list(ProductDocument.search("Red  mug"))
    monkeypatch.setattr(type(get_encoder()), "embed_texts", None)
    assert list(ProductDocument.search(" Red mug ")) == [mug]


def test_a_cache_that_is_broken_only_costs_time(mug, monkeypatch):
    from clip_search.searching import engine

    class Broken:
        def get(self, *args):
            raise ConnectionError

        set = get

    monkeypatch.setattr(engine, "cache", Broken())
    assert list(ProductDocument.search("red")) == [mug]


def test_warming_up_loads_the_text_tower_and_never_keeps_a_shop_down(settings, monkeypatch):
    loaded = []
    monkeypatch.setattr(type(get_encoder()), "warm_up", lambda self, images=True: loaded.append(images))
    assert warm_up() is True
    assert loaded == [False]
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"ENCODER": "nowhere.at.all"}
    assert warm_up() is False


def test_vectors_are_compared_by_cosine(mug):
    (hit,) = (
        ProductDocument.similar_to("x").hits() or ProductDocument.search_by_image(picture_bytes("red")).hits()
    )
    assert np.isclose(hit.score, 1.0, atol=1e-3)
