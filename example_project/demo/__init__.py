"""What only the demo needs: a catalogue, the command that starts the whole shop, and a check of it."""
