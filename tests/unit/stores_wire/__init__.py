"""Tests of the server store over HTTP and gRPC."""
