"""Tuning: which parameters are best on the frozen folds."""
