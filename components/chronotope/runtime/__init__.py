"""Runtime services for all layers above: paths, locks, step cache, store addresses, task engine."""
