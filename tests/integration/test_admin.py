"""The back office, through its pages."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.db import connections
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from clip_search import Document, indexing, outbox, searching
from clip_search.admin import ClipSearchAdminMixin, CollectionAdmin, IndexEntryAdmin, PostedProductAdmin
from clip_search.admin.entries import badge, index_again
from clip_search.admin.products import entries_of
from clip_search.documents.binding import BoundDocument
from clip_search.documents.registry import registry
from clip_search.models import Collection, IndexEntry, PostedProduct, RelatedChange
from clip_search.testing import pause_indexing
from clip_search.types import MODEL_SOURCE, POSTED_SOURCE
from tests.conftest import forget_declarations
from tests.shops.shop.models import Article, Category, Product, Tag

pytestmark = pytest.mark.django_db(databases=["default", "other"])

PRODUCTS = "/admin/shop/product/"
ENTRIES = "/admin/clip_search/indexentry/"
STATEMENTS = 40


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("staff"))
    return client


@pytest.fixture
def document():
    return registry.get("product")


@pytest.fixture
def unqueued(settings):
    """Schedule entries without indexing them."""
    settings.CLIP_SEARCH = settings.CLIP_SEARCH | {"QUEUE": "default"}


def make_products(count: int) -> list[Product]:
    return Product.objects.bulk_create(Product(name=f"Mug {n}", sku=f"M{n}") for n in range(count))


def viewer(*permissions: str) -> Client:
    """Return a member of staff who may do no more than this."""
    user = get_user_model().objects.create(username="viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def run_action(client: Client, url: str, action: str, rows, everything: bool = False) -> str:
    data = {"action": action, "_selected_action": [row.pk for row in rows], "select_across": int(everything)}
    return client.post(url, data, follow=True).content.decode()


# The action


def test_action_queues_what_was_selected(staff, unqueued, document):
    first, second, _third = make_products(3)
    page = run_action(staff, PRODUCTS, "reindex_selected", [first, second])
    assert "2 products were queued for indexing." in page
    assert set(IndexEntry.objects.values_list("product_id", flat=True)) == {str(first.pk), str(second.pk)}
    assert "1 product was queued" in run_action(staff, PRODUCTS, "reindex_selected", [first])


def test_action_indexes_here_without_a_queue(staff, document, django_capture_on_commit_callbacks):
    product, *_ = make_products(1)
    with django_capture_on_commit_callbacks(execute=True):
        run_action(staff, PRODUCTS, "reindex_selected", [product])
    assert IndexEntry.objects.get().state == IndexEntry.State.INDEXED


def test_action_is_named_after_the_model(staff):
    make_products(1)
    assert "Reindex selected products" in staff.get(PRODUCTS).content.decode()


@pytest.mark.parametrize("known", [False, True])
def test_ten_thousand_products_take_a_few_statements(staff, unqueued, document, known):
    products = make_products(10_000)
    if known:
        IndexEntry.objects.mark_changed(document, [str(product.pk) for product in products])
    with CaptureQueriesContext(connections["default"]) as queries:
        page = run_action(staff, PRODUCTS, "reindex_selected", products[:1], everything=True)
    assert "10000 products were queued" in page
    assert len(queries) <= STATEMENTS
    assert len(RelatedChange.objects.get().product_ids) == 10_000


def test_action_needs_the_permission_to_change(unqueued):
    products = make_products(2)
    client = viewer("view_product")
    assert "Reindex selected" not in client.get(PRODUCTS).content.decode()
    run_action(client, PRODUCTS, "reindex_selected", products)
    assert not IndexEntry.objects.exists()


def test_action_is_not_offered_in_popups_nor_where_actions_are_off(staff, rf, admin_user):
    make_products(1)
    assert "Reindex selected" not in staff.get(PRODUCTS + "?_popup=1").content.decode()
    request = rf.get(PRODUCTS)
    request.user = admin_user
    model_admin = admin_of(Product)
    model_admin.actions = None
    assert model_admin.get_actions(request) == {}


def test_action_says_when_there_is_nothing_to_queue(staff, unqueued, document, monkeypatch):
    products = make_products(1)
    monkeypatch.setattr(type(document.declaration), "index_as", lambda self, row: None)
    forget_declarations()
    page = run_action(staff, PRODUCTS, "reindex_selected", products)
    assert "Nothing was queued" in page


def admin_of(model, **attributes: object):
    """Return a ModelAdmin as a host would write it."""
    return type("HostAdmin", (ClipSearchAdminMixin, admin.ModelAdmin), attributes)(model, admin.site)


def asked(admin_user, model_admin, rows):
    request = RequestFactory().post("/")
    request.user = admin_user
    request._messages = type("Messages", (list,), {"add": lambda self, *args: self.append(args)})()
    model_admin.reindex_selected(request, rows)
    return request._messages


def test_action_raises_in_every_document_and_on_its_database(admin_user, unqueued, document):
    with pause_indexing():
        article = Article.objects.using("other").create(title="On mugs")
    rows = Article.objects.using("other").all()
    assert len(asked(admin_user, admin_of(Article), rows)) == 1
    entry = IndexEntry.objects.using("other").get()
    assert (entry.document, entry.product_id) == ("article", str(article.pk))


# The column


def test_column_shows_the_state_of_each_row_in_one_query(staff, document):
    def statements() -> int:
        with CaptureQueriesContext(connections["default"]) as queries:
            assert staff.get(PRODUCTS).status_code == 200
        return len(queries)

    make_products(2)
    few = statements()
    make_products(50)
    outbox.schedule(document, document.product_ids(Product.objects.all()), wake=False)
    assert statements() == few


def test_column_shows_states_and_escapes_errors(staff, document):
    products = make_products(4)
    ids = [str(product.pk) for product in products[:3]]
    outbox.schedule(document, ids, wake=False)
    entries = IndexEntry.objects.of(document).order_by("pk")
    states = [IndexEntry.State.INDEXED, IndexEntry.State.FAILED, IndexEntry.State.PENDING]
    for entry, state in zip(entries, states, strict=True):
        IndexEntry.objects.filter(pk=entry.pk).update(
            state=state, error="<script>" if state == "failed" else ""
        )
    page = staff.get(PRODUCTS).content.decode()
    assert '<span class="clip-search-indexed" title="">indexed</span>' in page
    assert '<span class="clip-search-failed" title="&lt;script&gt;">failed</span>' in page
    assert '<span class="clip-search-pending" title="">waiting</span>' in page
    assert page.count("clip-search-") == 3
    assert "–" in page


def test_column_shows_what_a_worker_holds(document):
    outbox.schedule(document, ["1"], wake=False)
    (entry,) = IndexEntry.objects.of(document).claim(1, indexing.LEASE)
    assert "being indexed" in badge(entry)


def test_column_is_added_last_unless_the_host_places_it(rf):
    request = rf.get("/")
    assert admin_of(Category).get_list_display(request)[-1] == "index_status"
    placed = admin_of(Product, list_display=("index_status", "name")).get_list_display(request)
    assert list(placed) == ["index_status", "name"]


def test_column_works_on_a_page_that_is_no_list(document):
    (product,) = make_products(1)
    assert admin_of(Product).index_status(product) == "–"
    outbox.schedule(document, [str(product.pk)], wake=False)
    assert "waiting" in admin_of(Product).index_status(product)


def test_column_reads_the_database_of_the_document():
    with pause_indexing():
        article = Article.objects.using("other").create(title="On mugs")
    outbox.schedule(registry.get("article"), [str(article.pk)], wake=False)
    assert len(entries_of(Article, [article])[article.pk]) == 1


def test_column_shows_every_document_of_a_model(document, monkeypatch):
    class Second(Document):
        name = "second"

        def index_as(self, obj):
            return obj if obj.sku == "M0" else None

    second = BoundDocument(Second(Product))
    monkeypatch.setattr(registry, "documents", {"product": document, "second": second})
    one, two = make_products(2)
    for each in (document, second):
        outbox.schedule(each, [str(one.pk)], wake=False)
    found = entries_of(Product, [one, two])
    assert [entry.document for entry in found[one.pk]] == ["product", "second"]
    assert found[two.pk] == []
    assert admin_of(Product).index_status(one).count("<span") == 2


# The package's own models


@pytest.fixture
def books(document) -> PostedProduct:
    """One row of each model."""
    Collection.objects.create(
        document="product", name="product-1", generation=1, state="live", fingerprint="f", dimension=256
    )
    posted = PostedProduct.objects.save_product(
        document, "a/<b>", {"name": "<i>Mug</i>", "metadata": {"a": "<u>"}}
    )
    posted.image.save("x", ContentFile(b"x"))
    outbox.schedule(document, ["a/<b>"], source=POSTED_SOURCE, wake=False)
    IndexEntry.objects.update(error="<script>" * 50)
    return posted


@pytest.mark.parametrize("model", [IndexEntry, Collection, PostedProduct])
def test_pages_show_and_change_nothing(staff, books, model):
    url = f"/admin/clip_search/{model._meta.model_name}/"
    row = model.objects.get()
    for page in (url, f"{url}{row.pk}/change/", f"{url}?q=a" if model is not Collection else url):
        answer = staff.get(page)
        assert answer.status_code == 200
        content = answer.content.decode()
        assert "<script>&" not in content
        assert "<i>Mug" not in content
        assert 'name="_save"' not in content
    assert staff.get(f"{url}add/").status_code == 403
    assert staff.post(f"{url}{row.pk}/change/", {"product_id": "x"}).status_code == 403
    assert staff.post(f"{url}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_posted_image_is_named_and_not_linked(staff, books):
    page = staff.get(f"/admin/clip_search/postedproduct/{books.pk}/change/").content.decode()
    assert books.image.name in page
    assert f'href="/{books.image.name}' not in page
    assert PostedProductAdmin(PostedProduct, admin.site).image_name(PostedProduct()) == "–"


def test_entries_are_found_by_product_and_filtered(staff, books):
    assert "1 result" in staff.get(f"{ENTRIES}?q=a%2F").content.decode()
    page = staff.get(f"{ENTRIES}?state__exact=pending&document=product&source__exact=posted")
    assert "clip-search-pending" in page.content.decode()


def test_index_again_raises_each_entry_as_whose_it_is(staff, unqueued, document, books):
    outbox.schedule(document, ["shop"], wake=False)
    IndexEntry.objects.update(state=IndexEntry.State.FAILED)
    page = run_action(staff, ENTRIES, "index_again", IndexEntry.objects.all())
    assert "2 products were queued for indexing." in page
    raised = IndexEntry.objects.filter(state=IndexEntry.State.PENDING, revision=2)
    assert dict(raised.values_list("product_id", "source")) == {"a/<b>": POSTED_SOURCE, "shop": MODEL_SOURCE}


def test_index_again_leaves_what_no_document_declares_any_more(unqueued, books):
    IndexEntry.objects.update(document="forgotten")
    assert index_again(IndexEntry.objects.all()) == 0
    assert IndexEntry.objects.get().revision == 1


def test_index_again_needs_the_permission_to_change(unqueued, books):
    client = viewer("view_indexentry")
    assert "Index again" not in client.get(ENTRIES).content.decode()
    run_action(client, ENTRIES, "index_again", IndexEntry.objects.all())
    assert IndexEntry.objects.get().revision == 1


def test_index_again_says_when_nothing_was_queued(staff, unqueued, books):
    IndexEntry.objects.update(document="forgotten")
    assert "Nothing was queued" in run_action(staff, ENTRIES, "index_again", IndexEntry.objects.all())


def test_everything_is_registered():
    shown = {model: type(model_admin) for model, model_admin in admin.site._registry.items()}
    assert shown[IndexEntry] is IndexEntryAdmin
    assert shown[Collection] is CollectionAdmin
    assert shown[PostedProduct] is PostedProductAdmin


# Search in the changelist


@pytest.fixture
def catalogue(document) -> dict[str, Product]:
    """A small indexed shop: by name."""
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    names = ("red mug", "red cup", "blue vase", "green lamp", "white chair")
    rows = [Product(name=n, sku=f"SKU-{i}", category=kitchen if i % 2 else None) for i, n in enumerate(names)]
    made = Product.objects.bulk_create(rows)
    IndexEntry.objects.mark_changed(document, document.product_ids(made))
    for _report in indexing.index_due(document):
        pass
    return {product.name: product for product in made}


def changelist(staff: Client, query: str):
    """Return the rows of a changelist in their order, and its messages."""
    answer = staff.get(f"{PRODUCTS}?{query}")
    assert answer.status_code == 200
    shown = [product.name for product in answer.context["cl"].result_list]
    return shown, [str(message) for message in answer.context["messages"]]


MEANING = "meaning=1"


def test_staff_find_what_has_the_words_and_django_s_own_matches_first(staff, catalogue):
    Product.objects.create(name="not indexed mug", sku="X", is_public=False)
    assert changelist(staff, "q=mugs")[0] == ["red mug"]
    assert changelist(staff, "q=mug")[0] == ["red mug", "not indexed mug"]
    assert set(changelist(staff, "q=reds")[0][:2]) == {"red mug", "red cup"}  # equally near: any order
    assert changelist(staff, "q=SKU-3")[0][0] == "green lamp"
    assert changelist(staff, "q=asdfgh") == ([], [])


def test_meaning_is_added_only_where_it_is_asked_for(staff, catalogue, monkeypatch):
    assert changelist(staff, "q=a+mug+of+red+colour")[0] == []
    shown, messages = changelist(staff, f"q=a+mug+of+red+colour&{MEANING}")
    assert set(shown[:2]) == {"red mug", "red cup"}
    assert (len(shown), messages) == (5, [])
    monkeypatch.setattr(ClipSearchAdminMixin, "clip_search_meaning", True)
    assert changelist(staff, "q=a+mug+of+red+colour")[0] == shown


def test_a_filter_of_the_list_asks_for_meaning_while_staff_search(staff, catalogue, monkeypatch):
    page = staff.get(f"{PRODUCTS}?q=red").content.decode()
    assert re.search('href="[^"]*meaning=1[^"]*">Also by meaning', page)
    assert re.search('class="selected">\\s*<a href="[^"]*">By words', page)
    counted = staff.get(f"{PRODUCTS}?q=red&_facets=True").content.decode()
    assert re.search("Also by meaning\\s*</a>", counted)
    assert "Also by meaning" not in staff.get(PRODUCTS).content.decode()
    assert len(changelist(staff, MEANING)[0]) == 5  # the words were deleted
    monkeypatch.setattr(ClipSearchAdminMixin, "clip_search_meaning", True)
    assert "Also by meaning" not in staff.get(f"{PRODUCTS}?q=red").content.decode()


def test_a_search_for_words_needs_no_model(staff, catalogue, monkeypatch):
    monkeypatch.setattr("clip_search.testing.HashingEncoder.embed_texts", broken)
    assert changelist(staff, "q=mugs") == (["red mug"], [])


def test_search_keeps_to_the_order_that_staff_clicked_and_to_their_filters(staff, catalogue, document, rf):
    assert changelist(staff, f"q=red+mug&{MEANING}&o=-1")[0] == sorted(catalogue, reverse=True)
    kitchen = f"category__id__exact={catalogue['red cup'].category_id}"
    assert changelist(staff, f"q=red+mug&{MEANING}&{kitchen}")[0] == ["red cup", "green lamp"]
    assert changelist(staff, f"q=reds&{kitchen}")[0] == ["red cup"]


def test_rows_that_filters_leave_are_found_behind_the_first_page(staff, catalogue, document, monkeypatch):
    monkeypatch.setattr(ClipSearchAdminMixin, "clip_search_limit", 1)
    for name in ("red mug", "red cup"):
        assert changelist(staff, f"q=reds&sku__exact={catalogue[name].sku}")[0] == [name]


def test_no_column_is_marked_as_sorted_where_rank_is_the_order(staff, catalogue, monkeypatch):
    def sorted_columns(query: str) -> list[int]:
        return list(staff.get(f"{PRODUCTS}?{query}").context["cl"].get_ordering_field_columns())

    monkeypatch.setattr(admin.site._registry[Product], "ordering", ["name"])
    assert len(sorted_columns("")) == len(sorted_columns("q=red+mug&o=1")) == 1
    assert sorted_columns("q=red+mug") == []


def test_search_is_bounded(staff, catalogue, monkeypatch):
    monkeypatch.setattr(ClipSearchAdminMixin, "clip_search_limit", 2)
    assert len(changelist(staff, f"q=a+mug+of+red+colour&{MEANING}")[0]) == 2
    assert len(changelist(staff, "q=sku")[0]) == 5


def test_search_without_words_is_django_s(staff, catalogue, monkeypatch):
    monkeypatch.setattr("clip_search.searching.search", broken)
    assert len(changelist(staff, "q=")[0]) == len(changelist(staff, "q=+")[0]) == 5


def broken(*args: object, **kwargs: object):
    raise AssertionError("the index was asked")


def test_search_falls_back_to_words_and_says_so_once(staff, catalogue):
    Collection.objects.update(fingerprint="another")
    shown, messages = changelist(staff, f"q=mug&{MEANING}")
    assert shown == ["red mug"]
    assert len(messages) == 1
    assert "The index is unavailable, so only what Django's own search finds is shown." in messages[0]
    assert "clip_rebuild" in messages[0]


def test_search_asks_the_index_once_a_request(staff, catalogue, document, admin_user, rf, monkeypatch):
    asked = []
    search = searching.search
    monkeypatch.setattr("clip_search.searching.search", lambda *a, **o: asked.append(a) or search(*a, **o))
    request = rf.get(f"{PRODUCTS}?{MEANING}")
    request.user = admin_user
    model_admin = admin_of(Product, search_fields=("name", "tags__name"))
    for _ in range(3):
        rows, duplicates = model_admin.get_search_results(
            request, Product.objects.order_by("pk"), "a red mug"
        )
        assert (len(rows), rows.count(), duplicates) == (5, 5, False)
    assert len(asked) == 1


def test_search_finds_rows_once_though_words_match_twice(staff, catalogue, admin_user, rf):
    for name in ("sale", "on sale"):
        catalogue["red mug"].tags.add(Tag.objects.create(name=name))
    request = rf.get(f"{PRODUCTS}?{MEANING}")
    request.user = admin_user
    model_admin = admin_of(Product, search_fields=("tags__name",))
    rows, _ = model_admin.get_search_results(request, Product.objects.distinct().order_by("pk"), "sale")
    assert rows[0] == catalogue["red mug"]
    assert len(rows) == 5


def test_search_fields_are_the_host_s_or_those_of_exact_words(rf):
    assert list(admin_of(Product).get_search_fields(rf.get("/"))) == ["sku", "name"]
    assert admin_of(Product, search_fields=("^name",)).get_search_fields(rf.get("/")) == ("^name",)
    assert admin_of(Category).get_search_fields(rf.get("/")) in ((), [])


def test_a_list_has_a_search_box_also_without_exact_words(staff, catalogue, document, monkeypatch):
    monkeypatch.setattr(type(document.declaration), "exact_fields", ())
    assert b'id="searchbar"' in staff.get(PRODUCTS).content
    assert changelist(staff, f"q=a+red+mug+of+clay&{MEANING}")[0][0] == "red mug"
    key = catalogue["blue vase"].pk
    assert changelist(staff, f"q={key}")[0][0] == "blue vase"


def test_a_model_without_a_document_is_searched_as_ever(rf, admin_user):
    Category.objects.create(name="Kitchen", slug="k")
    request = rf.get("/")
    request.user = admin_user
    rows, _ = admin_of(Category, search_fields=("name",)).get_search_results(
        request, Category.objects.all(), "kit"
    )
    assert rows.count() == 1


def test_autocompletion_is_by_words_alone(staff, catalogue, monkeypatch):
    monkeypatch.setattr("clip_search.searching.search", broken)
    model_admin = admin.site._registry[Product]
    monkeypatch.setattr(type(model_admin), "search_fields", ("name",), raising=False)
    monkeypatch.setattr(type(model_admin), "ordering", ("pk",), raising=False)
    field = {"app_label": "shop", "model_name": "productimage", "field_name": "product"}
    answer = staff.get("/admin/autocomplete/", {"term": "mug", **field})
    assert [result["text"] for result in answer.json()["results"]] == ["red mug"]


def test_posted_products_are_no_rows(staff, catalogue, document):
    PostedProduct.objects.save_product(document, "test-123", {"name": "a red mug"})
    IndexEntry.objects.mark_changed(document, ["test-123"], source=POSTED_SOURCE)
    for _report in indexing.index_due(document):
        pass
    assert len(changelist(staff, f"q=a+red+mug+of+clay&{MEANING}")[0]) == 5
    assert sorted(changelist(staff, "q=reds")[0]) == ["red cup", "red mug"]


# The page "Search standing"


def why(client: Client, product: Product, **query: str):
    answer = client.get(f"{PRODUCTS}{product.pk}/why/", query)
    assert answer.status_code == 200
    return answer


def test_the_page_of_a_product_links_to_its_search_standing(staff, catalogue):
    product = catalogue["red mug"]
    assert (
        f'href="{PRODUCTS}{product.pk}/why/"' in staff.get(f"{PRODUCTS}{product.pk}/change/").content.decode()
    )
    assert "/why/" not in staff.get(f"{PRODUCTS}add/").content.decode()
    form = why(staff, product)
    assert "explanation" not in form.context
    assert '<input type="search"' in form.content.decode()


def test_a_host_keeps_its_own_template_of_the_change_form(staff, catalogue, monkeypatch):
    model_admin = admin.site._registry[Product]
    monkeypatch.setattr(type(model_admin), "change_form_template", "admin/change_form.html", raising=False)
    page = staff.get(f"{PRODUCTS}{catalogue['red mug'].pk}/change/").content.decode()
    assert "/why/" not in page


def test_a_found_product_shows_its_rank_and_evidence(staff, catalogue):
    answer = why(staff, catalogue["red cup"], q="the cup in red")
    page = answer.content.decode()
    assert "Rank 1 of 1" in page
    assert "all words, relevance 0." in page
    assert "✓ cup, weight" in page
    assert "Ignored" in page
    assert answer.context["row"].product.name == "red cup"


def test_a_product_that_is_not_found_shows_why(staff, catalogue, document):
    page = why(staff, catalogue["blue vase"], q="red mug").content.decode()
    assert "Not found" in page
    assert "It lacks: red, mug." in page
    assert f'href="{PRODUCTS}{catalogue["red mug"].pk}/why/?q=red+mug&amp;document=product"' in page
    IndexEntry.objects.filter(product_id=catalogue["red mug"].pk).update(state="failed", error="<b>no</b>")
    page = why(staff, catalogue["red mug"], q="lamp").content.decode()
    assert "It could not be indexed: &lt;b&gt;no&lt;/b&gt;" in page


def test_queries_are_escaped_and_may_be_odd(staff, catalogue):
    for query in ("<script>alert(1)</script>", '"', "-", "asdfgh", "🫖", "x" * 5000):
        page = why(staff, catalogue["red mug"], q=query).content.decode()
        assert "<script>alert" not in page
    assert (
        "Nothing has these words. Closest:" in why(staff, catalogue["red mug"], q="asdfgh").content.decode()
    )


def test_the_page_needs_the_permission_to_view(catalogue):
    url = f"{PRODUCTS}{catalogue['red mug'].pk}/why/"
    assert Client().get(url).status_code == 302
    assert viewer("view_product").get(url, {"q": "mug"}).status_code == 200
    get_user_model().objects.all().delete()
    assert viewer("view_category").get(url, {"q": "mug"}).status_code == 403


def test_the_page_of_no_row_leads_back(staff, catalogue):
    assert staff.get(f"{PRODUCTS}99999/why/").status_code == 302


def test_the_page_says_that_search_is_unavailable(staff, catalogue):
    Collection.objects.update(fingerprint="another")
    page = why(staff, catalogue["red mug"], q="mug").content.decode()
    assert 'class="errornote"' in page
    assert "clip_rebuild" in page


def test_a_row_that_is_no_product_and_one_of_several_documents(staff, catalogue, document, monkeypatch):
    class Second(Document):
        name = "second"

        def index_as(self, obj):
            return None

    second = BoundDocument(Second(Product))
    monkeypatch.setattr(registry, "documents", {"product": document, "second": second})
    page = why(staff, catalogue["red mug"], q="mug").content.decode()
    assert "Rank 1 of 1" in page
    assert "<option selected>product</option><option>second</option>" in page
    answer = why(staff, catalogue["red mug"], q="mug", document="second")
    assert "Nothing of &#x27;second&#x27; is indexed yet" in answer.content.decode()
    monkeypatch.setattr(type(document.declaration), "index_as", lambda self, row: None)
    forget_declarations()
    assert (
        "This row is not indexed as a product." in why(staff, catalogue["red mug"], q="mug").content.decode()
    )
