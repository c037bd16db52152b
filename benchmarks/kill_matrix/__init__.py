"""Flows killed in every step, and the results of the next run."""
