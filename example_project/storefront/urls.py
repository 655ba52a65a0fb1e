"""The shop, the back office and the endpoints of clip_search. django-rq adds its dashboard to the admin."""

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("clip_search.api.urls")),
    path("", include("shop.urls")),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),  # only if DEBUG is True
]
