"""Measure how good the answers of a search are, by a shop's own judgments."""
