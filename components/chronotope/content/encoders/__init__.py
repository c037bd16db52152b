"""Encoders of texts, images and sounds, and the weights they read."""
