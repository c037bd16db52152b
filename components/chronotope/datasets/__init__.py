"""Where logs come from: one YAML a dataset, a reader, and a simulated city."""
