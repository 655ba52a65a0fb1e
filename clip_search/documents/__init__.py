"""The documents that a shop declares, and how they turn rows into content to index."""
