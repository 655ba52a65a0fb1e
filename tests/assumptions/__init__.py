"""A script that tries on a real Qdrant server what the package and its stub assume of one."""
