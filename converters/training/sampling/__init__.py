"""Which windows of which views the networks learn from next."""
