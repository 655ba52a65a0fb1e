"""Create the user that the demo's back office is entered with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

USER = PASSWORD = "admin"


class Command(BaseCommand):
    help = f"Creates the superuser {USER} with the password {PASSWORD}, for development, unless it exists."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("This password is public. In production, use `createsuperuser`.")
        users = get_user_model().objects
        if not users.filter(username=USER).exists():
            users.create_superuser(USER, "admin@example.com", PASSWORD)
