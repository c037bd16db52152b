"""Learning on past time: Lightning modules, early stopping on later time, checkpoints."""
