"""Random faults in a busy shop, and the oracle that checks the index afterwards."""
