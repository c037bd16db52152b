"""Recommenders: the space-time kernel model and its baselines."""
