"""The demo: a catalogue to fill the shop with, and one command that starts everything."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "demo"
    verbose_name = "Demo"
