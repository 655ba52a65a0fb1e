"""Tests of several modules together: indexing, searching, workers, endpoints, admin, commands, the demo."""
