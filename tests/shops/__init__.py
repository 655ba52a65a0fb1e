"""Django apps that the tests index: a small shop, and one shaped like django-oscar."""
