"""The embedded store: Qdrant's engine in this process, for development, demos and small shops."""
