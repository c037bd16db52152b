"""Console output: consoles, and errors reported in one line."""
