"""Training with Lightning: prequential batches, early stopping, checkpoints, warm starts."""
