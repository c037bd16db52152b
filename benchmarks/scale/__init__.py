"""How the cost of each stage grows with the log."""
