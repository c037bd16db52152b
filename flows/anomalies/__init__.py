"""Flows around anomaly detectors."""
