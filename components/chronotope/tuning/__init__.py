"""Choosing settings with Optuna over rolling-origin folds."""
