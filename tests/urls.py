from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("api/v1/", include("clip_search.api.urls")),
    path("admin/", admin.site.urls),
]
