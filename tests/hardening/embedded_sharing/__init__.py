"""Tests of a folder that several processes share."""
