"""Qdrant's engine in a folder, for development, demos and small shops."""
