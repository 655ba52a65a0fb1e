"""Tests of reading and resizing images."""
