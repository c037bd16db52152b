"""Dataset YAML files, readers of their tables, and the generator of a simulated city."""
