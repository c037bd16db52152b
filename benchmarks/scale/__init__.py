"""Cost of each stage by the size of the log."""
