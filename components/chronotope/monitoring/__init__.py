"""Drift monitoring of data, predictions and outcomes."""
