"""Recommenders: the space-time kernel model and the baselines it has to beat."""
