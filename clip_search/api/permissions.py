"""Imports the permission classes that the settings name."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.module_loading import import_string
from rest_framework.permissions import BasePermission

from ..exceptions import SetupError


def instances(paths: Iterable[str]) -> list[BasePermission]:
    """Return an instance of each permission class. Raises SetupError if one cannot be imported."""
    try:
        return [import_string(path)() for path in paths]
    except ImportError as error:
        raise SetupError(f"A permission class of CLIP_SEARCH cannot be imported: {error}") from error
