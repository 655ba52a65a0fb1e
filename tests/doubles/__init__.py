"""Test doubles: encoders, stores and a Qdrant server."""
