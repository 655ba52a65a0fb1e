"""The addresses of the shop's pages."""

from django.urls import path

from . import views

app_name = "shop"

urlpatterns = [
    path("", views.CatalogueView.as_view(), name="catalogue"),
    path("search/", views.SearchView.as_view(), name="search"),
    path("search/photo/", views.PhotoView.as_view(), name="photo"),
    path("search/photo/<slug:key>/", views.PhotoResultsView.as_view(), name="photo_results"),
    path("categories/<slug:slug>/", views.CatalogueView.as_view(), name="category"),
    path("products/<slug:sku>/", views.ProductView.as_view(), name="product"),
]
