"""Replay of a log as live traffic, in rounds: serve, post events, ingest, retrain."""
