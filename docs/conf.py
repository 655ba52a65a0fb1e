"""Sphinx's configuration: `tox run -e docs` builds the site into docs/_build, and warnings are errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"  # docs/settings.py
django.setup()

import clip_search  # noqa: E402

project = "django-clip-search"
author = "The authors of django-clip-search"
release = version = clip_search.__version__
copyright = f"2026, {author}"

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
smartquotes = False  # texts are code more often than prose
default_role = "literal"
"""Docstrings mark code with single backticks, as Django's own do in places."""
html_theme = "furo"
html_title = "django-clip-search"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 140

nitpicky = True
nitpick_ignore_regex = [
    # Classes of Python and of other packages: without a network there is nothing to link to.
    (r"py:.*", r"(?!clip_search\b).*"),
    # Type variables, and classes that a host never creates.
    (r"py:.*", r"clip_search\..*\b(BoundDocument|DocumentClass|IndexEntry|Ranking|Row|Found)"),
]
