"""Encoders of texts, images, sounds and attributes, and the weights they read."""
