"""Anomaly detectors in the registry: versions, champion and blessing."""
