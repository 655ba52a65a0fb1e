"""Tests against faults, attacks, load, full disks and many processes at once."""
