from django.contrib import admin

from clip_search.admin import ClipSearchAdminMixin

from .models import Product


@admin.register(Product)
class ProductAdmin(ClipSearchAdminMixin, admin.ModelAdmin):
    list_display = ("name", "sku", "index_status")
