"""Tests of the status: what it says, and where it is shown."""
