"""Backbones: learned models that turn the latest events into item scores."""
