"""What a shop declares, and how a row of its model becomes searchable content."""
