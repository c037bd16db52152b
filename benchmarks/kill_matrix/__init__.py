"""Flows killed in every step, and what the next run makes of what they left."""
