"""Console output: consoles, and errors as one clear line."""
