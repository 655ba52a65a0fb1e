"""The tests' settings with a view that fails."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.hardening.test_secrets"
