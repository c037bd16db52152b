"""The registry: runs, model versions, and which of them answers."""
