"""Drift monitoring: data, predictions of the champion, and outcomes of recommendations."""
