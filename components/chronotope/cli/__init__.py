"""Command line: one module per command; commands run the same flows as the Prefect UI."""
