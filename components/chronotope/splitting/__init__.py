"""Temporal splits of the event log: rolling-origin folds, holdout and evaluation targets."""
