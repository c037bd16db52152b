"""Hyper-parameter search over frozen folds, and search over compression recipes."""
