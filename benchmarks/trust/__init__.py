"""Measures of trust in a model, on several logs."""
