"""The pages of the shop."""

from django.urls import path

from . import views

app_name = "shop"

urlpatterns = [
    path("", views.CatalogueView.as_view(), name="catalogue"),
    path("search/", views.SearchView.as_view(), name="search"),
    path("categories/<slug:slug>/", views.CatalogueView.as_view(), name="category"),
    path("products/<slug:sku>/", views.ProductView.as_view(), name="product"),
]
