"""Dataset configurations, readers of their tables, and a simulated city."""
