"""Anomalies in the service: scores of posted events, flagged events, labels."""
